"""How often models beat one baseline, with intervals over instructions, and how two of them differ.

All rates of a call come from the same bootstrap draws of instructions, so that the difference of two models varies as
little as it does. docs/statistics.md defines the statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.few_prompts import equal_shares
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.length_controlled import length_controlled
from evaluation.statistics.measured import Frame, Measured

WIN_RATE = "win_rate"
DISCRETE = "win_rate_discrete"
LENGTH_CONTROLLED = "win_rate_length_controlled"
LENGTH = "mean_length"
LEAD = "_lead_over_"
"""Between a rate's name and the model it is compared with."""

_NUMBERS_AT_ONCE = 16
"""Temporaries of a fit, each as large as its weights."""

Measure = Callable[[Floats], Floats]
"""A statistic (draws,) of rows that count ``weights`` (draws, rows) times."""


@dataclass(frozen=True)
class Contest:
    """One model's battles against the baseline as columns (rows,)."""

    instruction: Ints
    """From 0, the same number for the same instruction in all contests."""

    preference: Floats
    """In [0, 1], NaN where it is missing."""

    length: Floats
    """Characters of the model's output."""

    baseline_length: Floats
    """NaN where it is not recorded."""

    difficulty: Floats | None
    """gamma of the instruction; None leaves the term out."""

    def at(self, rows: NDArray[np.bool_]) -> "Contest":
        """The battles of ``rows`` alone."""
        return Contest(
            self.instruction[rows],
            self.preference[rows],
            self.length[rows],
            self.baseline_length[rows],
            None if self.difficulty is None else self.difficulty[rows],
        )

    def usable(self) -> "Contest":
        """The battles with a verdict."""
        return self.at(np.isfinite(self.preference))


def win_rates(
    contests: Mapping[str, Contest],
    *,
    oracle: str,
    reference: str | None,
    length_buckets: int,
    draws: int,
    confidence: float,
    seed: int,
) -> list[Estimate]:
    """Every model's rates, its lead over ``reference`` on common instructions, and its win rate by output length.

    A rate is a share of 1. Length buckets hold equal numbers of all models' outputs, so that models meet in the same.
    """
    size = 1 + max((int(each.instruction.max(initial=0)) for each in contests.values()), default=0)
    board = _Board(Bootstrap(size, None, draws, seed), oracle, confidence)
    estimates: list[Estimate] = []
    for name, contest in contests.items():
        known = contest.usable()
        dropped = len(contest.preference) - len(known.preference)
        for statistic in (WIN_RATE, DISCRETE, LENGTH_CONTROLLED, LENGTH):
            estimates.append(board.rate(name, statistic, known, dropped))
    if reference is not None:
        for name in contests:
            if name != reference:
                estimates += board.leads(name, contests[name].usable(), reference, contests[reference].usable())
    if length_buckets > 1:
        edges = _edges([each.usable().length for each in contests.values()], length_buckets)
        for name, contest in contests.items():
            known = contest.usable()
            for low, high in pairwise(edges):
                inside = known.at((known.length >= low) & (known.length < high))
                if len(inside.length):
                    estimates.append(board.rate(name, WIN_RATE, inside, 0, stratum(low, high)))
    return estimates


def stratum(low: float, high: float) -> str:
    """The name of a length bucket, such as ``length 0-799``; without an end, ``length 1600-``."""
    return f"length {low:.0f}-{'' if np.isinf(high) else f'{high - 1:.0f}'}"


class _Board:
    """Rates with the replicates of one bootstrap, each fitted once however often it is compared."""

    def __init__(self, bootstrap: Bootstrap, oracle: str, confidence: float) -> None:
        self._bootstrap = bootstrap
        self._oracle = oracle
        self._confidence = confidence
        self._known: dict[tuple[str, str, bytes, bytes], tuple[float, Floats | None]] = {}

    def rate(self, name: str, statistic: str, contest: Contest, n_dropped: int, stratum: str = "all") -> Estimate:
        reason = _undefined(statistic, contest)
        value, replicates = (None, None) if reason else self._measured(name, statistic, contest)
        return self._estimate(name, statistic, contest, value, replicates, n_dropped, reason, stratum)

    def leads(self, name: str, own: Contest, reference: str, other: Contest) -> list[Estimate]:
        """How much higher the model's rates are on the instructions on which both have a verdict."""
        common = np.intersect1d(own.instruction, other.instruction)
        a, b = (each.at(np.isin(each.instruction, common)) for each in (own, other))
        estimates = []
        for statistic in (WIN_RATE, DISCRETE, LENGTH_CONTROLLED):
            reason = _undefined(statistic, a) or _undefined(statistic, b)
            value = replicates = None
            if not reason:
                (mine, my_draws), (theirs, their_draws) = (
                    self._measured(who, statistic, each) for who, each in ((name, a), (reference, b))
                )
                value = mine - theirs
                replicates = None if my_draws is None or their_draws is None else my_draws - their_draws
            dropped = len(own.preference) - len(a.preference)
            title = statistic + LEAD + reference
            estimates.append(self._estimate(name, title, a, value, replicates, dropped, reason, "all"))
        return estimates

    def _measured(self, name: str, statistic: str, contest: Contest) -> tuple[float, Floats | None]:
        """The value, and in every draw; without draws where there is one instruction."""
        key = (statistic, name, contest.instruction.tobytes(), contest.length.tobytes())
        if key not in self._known:
            measure = _measure(statistic, contest)
            value = float(measure(np.ones((1, len(contest.preference))))[0])
            replicates = None
            if len(np.unique(contest.instruction)) > 1:
                blocks = self._bootstrap.weights(_NUMBERS_AT_ONCE)
                replicates = np.concatenate([_drawn(measure, weights[:, contest.instruction]) for weights in blocks])
            self._known[key] = value, replicates
        return self._known[key]

    def _estimate(
        self,
        name: str,
        statistic: str,
        contest: Contest,
        value: float | None,
        replicates: Floats | None,
        n_dropped: int,
        reason: str | None,
        stratum: str,
    ) -> Estimate:
        counts = np.unique(contest.instruction, return_counts=True)[1]
        found = Measured(value, replicates, len(counts), len(contest.preference), reason)
        if statistic in (WIN_RATE, DISCRETE):
            found = replace(found, bounds=(0.0, 1.0), exact=equal_shares(counts))
        method = describe_draws(self._bootstrap.draws, crossed=False)
        if statistic.startswith(LENGTH_CONTROLLED):
            method += ", the length model refitted in each"
        frame = Frame(None, stratum, self._confidence, method)
        return frame.estimate(name, self._oracle, statistic, found, n_dropped)


def _measure(statistic: str, contest: Contest) -> Measure:
    if statistic == LENGTH_CONTROLLED:
        difference = contest.length - contest.baseline_length
        return lambda weights: length_controlled(contest.preference, difference, contest.difficulty, weights)
    discrete = (1 + np.sign(contest.preference - 0.5)) / 2
    values = {WIN_RATE: contest.preference, DISCRETE: discrete, LENGTH: contest.length}[statistic]
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def _drawn(measure: Measure, weights: Floats) -> Floats:
    """The statistic of draws (draws,), NaN for one that drew none of the rows."""
    replicates = np.full(len(weights), np.nan)
    some = weights.sum(axis=1) > 0
    replicates[some] = measure(weights[some])
    return replicates


def _undefined(statistic: str, contest: Contest) -> str | None:
    if not len(contest.preference):
        return "no battle has a verdict"
    if statistic == LENGTH_CONTROLLED:
        if not np.isfinite(contest.baseline_length).all():
            return "the baseline's outputs, whose length is needed, are not recorded"
        if len(contest.preference) < 3:
            return "fewer than three battles"
    return None


def _edges(lengths: Sequence[Floats], buckets: int) -> list[float]:
    """Bounds of at most ``buckets`` buckets with equal numbers of outputs, each from its lower bound on."""
    everything = np.concatenate([*lengths, np.zeros(0)])
    if not len(everything):
        return []
    inner = np.quantile(everything, np.arange(1, buckets) / buckets, method="higher")
    return [0.0, *(float(each) for each in np.unique(inner) if each > everything.min()), np.inf]

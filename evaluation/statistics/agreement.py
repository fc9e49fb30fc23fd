"""The statistics themselves, as functions of a column's sums. docs/statistics.md defines them and cites sources."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.few_prompts import equal_shares
from evaluation.statistics.influence import influences
from evaluation.statistics.interval import Scale
from evaluation.statistics.measured import ONE_PROMPT, Measured
from evaluation.statistics.sums import BETWEEN, KENDALL, PAIRS, POOLED, PROMPT_RHO, PROMPT_TAU, RANKED, WITHIN

_ROUNDING = 1e-24
"""Of standardised values, a variance this small is a difference by rounding alone."""

_VANISHED = 1e-12
"""A draw that keeps less than this share of a variance has lost it; what is left is rounding."""


@dataclass(frozen=True)
class Statistic:
    """One way to ask how well scores agree with judgements."""

    name: str
    sums: slice
    """Which of a column's sums it depends on, beside the first, the number of rows."""

    kind: Literal["correlation", "within", "ratio", "terms"]
    constant: str
    """Why it is undefined where one side does not vary; ``{}`` is the side."""

    bounds: tuple[float, float] | None = None
    """Of a ratio, between which numbers each prompt's lies."""

    @property
    def scale(self) -> Scale:
        """On which its interval is taken."""
        return "plain" if self.kind == "ratio" else "atanh"


_NO_RANKS = "no prompt's scores and judgements both differ"

STATISTICS = (
    Statistic("pearson_pooled", POOLED, "correlation", "every {} is the same"),
    Statistic("pearson_within", WITHIN, "within", "no prompt's {}s differ"),
    Statistic("pearson_between", BETWEEN, "correlation", "every prompt has the same mean {}"),
    Statistic("spearman_pooled", RANKED, "correlation", "every {} is the same"),
    Statistic("kendall_pooled", KENDALL, "terms", "every {} is the same"),
    Statistic("spearman_per_prompt", PROMPT_RHO, "ratio", _NO_RANKS, (-1, 1)),
    Statistic("kendall_per_prompt", PROMPT_TAU, "ratio", _NO_RANKS, (-1, 1)),
    Statistic("pairwise_accuracy", PAIRS, "ratio", "no prompt has two responses judged differently", (0, 1)),
)

_RATIOS = {"pairwise_accuracy": (0, 1), "spearman_per_prompt": (1, 0), "kendall_per_prompt": (1, 0)}
"""Which of a ratio's sums is divided by which."""


def measure(statistic: Statistic, sums: Floats, totals: Floats | None) -> Measured:
    """``statistic`` from each prompt's ``sums`` (prompts, 31) and the bootstrap's ``totals`` (draws, 31).

    Without totals, or with one contributing prompt, there is a value and no interval.
    """
    chosen = _contributing(statistic, sums)
    n_prompts, n_responses = int(chosen.sum()), int(sums[chosen, 0].sum())
    whole = sums.sum(axis=0)
    reason = _undefined(statistic, whole, n_prompts, n_responses)
    constant = constant_prompts(sums)
    if reason is not None:
        return Measured(None, None, n_prompts, n_responses, reason, constant)
    variances = _variances(statistic, whole)
    value = float(_values(statistic, whole, 0 * variances))
    if totals is None or n_prompts < 2:
        return Measured(value, None, n_prompts, n_responses, ONE_PROMPT, constant)
    replicates = _values(statistic, totals, _VANISHED * variances)
    found = Measured(value, replicates, n_prompts, n_responses, None, constant, bounds=statistic.bounds)
    if statistic.kind != "ratio":
        return found
    return replace(found, exact=equal_shares(sums[chosen, statistic.sums][:, _RATIOS[statistic.name][1]]))


def influences_of(statistic: Statistic, sums: Floats) -> Floats | None:
    """How far each prompt (prompts,) moves atanh of a correlation, or a ratio; None where one prompt is all."""
    floors = _VANISHED * _variances(statistic, sums.sum(axis=0))
    return influences(lambda at: _values(statistic, at, floors), sums, statistic.scale)


def constant_prompts(sums: Floats) -> int:
    """How many prompts with two responses or more have but one score, or but one judgement."""
    _, by_oracle, by_score = np.moveaxis(sums[:, PAIRS], -1, 0)
    return int(((sums[:, 0] >= 2) & ((by_oracle == 0) | (by_score == 0))).sum())


def _contributing(statistic: Statistic, sums: Floats) -> NDArray[np.bool_]:
    if statistic.kind == "ratio":
        defined: NDArray[np.bool_] = sums[:, statistic.sums][:, _RATIOS[statistic.name][1]] > 0
        return defined
    fewest = 2 if statistic.kind == "within" else 1
    present: NDArray[np.bool_] = sums[:, 0] >= fewest
    return present


def _undefined(statistic: Statistic, whole: Floats, n_prompts: int, n_responses: int) -> str | None:
    reason = _too_few(statistic, whole, n_prompts, n_responses)
    if reason is not None or statistic.kind == "ratio":
        return reason
    for side, variance in zip(("score", "judgement"), _variances(statistic, whole), strict=True):
        if variance <= _ROUNDING:
            return statistic.constant.format(side)
    return None


def _too_few(statistic: Statistic, whole: Floats, n_prompts: int, n_responses: int) -> str | None:
    """Why there are not enough rows: none at all, or so few that any two numbers would correlate perfectly."""
    if whole[0] == 0:
        return "no response has both a score and a judgement"
    if statistic.kind == "ratio":
        return None if n_prompts else statistic.constant
    if statistic.kind == "within":
        return _too_few_within(n_prompts, n_responses)
    if statistic.sums == BETWEEN:
        return "fewer than three prompts" if n_prompts < 3 else None
    return "fewer than three responses" if n_responses < 3 else None


def _too_few_within(n_prompts: int, n_responses: int) -> str | None:
    if n_prompts == 0:
        return "no prompt has two responses"
    # each prompt's mean takes one degree of freedom
    return "two responses to one prompt always correlate perfectly" if n_responses - n_prompts < 2 else None


def _values(statistic: Statistic, totals: Floats, floors: Floats) -> Floats:
    """The statistic of ``totals`` (..., 31); NaN where a variance is not above its floor (2,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if statistic.kind == "ratio":
            above, below = _RATIOS[statistic.name]
            parts = totals[..., statistic.sums]
            return np.asarray(parts[..., above] / parts[..., below])
        covariance = _covariances(statistic, totals)[2]
        xx, yy = _variances(statistic, totals)
        correlation = np.clip(covariance / np.sqrt(xx * yy), -1, 1)
        return np.asarray(np.where((xx > floors[0]) & (yy > floors[1]), correlation, np.nan))


def _variances(statistic: Statistic, totals: Floats) -> Floats:
    """How far scores and judgements vary, (2, ...)."""
    return np.zeros(2) if statistic.kind == "ratio" else _covariances(statistic, totals)[:2]


def _covariances(statistic: Statistic, totals: Floats) -> Floats:
    """Variance of the scores, variance of the judgements, covariance (3, ...), per row or prompt."""
    parts = np.moveaxis(totals[..., statistic.sums], -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if statistic.kind == "terms":
            concordance, x, y = parts
            return np.stack([x, y, concordance]) / totals[..., 0]
        if statistic.kind == "within":
            return np.asarray(parts / totals[..., 0])
        n, sx, sy, sxx, syy, sxy = parts
        return np.asarray(np.stack([sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n]) / n)

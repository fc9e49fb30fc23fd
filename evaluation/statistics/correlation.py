"""How well scores agree with an oracle's judgements: pooled, within prompts and between prompts, with intervals.

The definitions, their sources and what they are good for stand in docs/statistics.md.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.scorers.controls import CONTROLS
from evaluation.statistics.agreement import STATISTICS, Measured, measure
from evaluation.statistics.bootstrap import (
    Bootstrap,
    Floats,
    Interval,
    Ints,
    Scale,
    describe_method,
    fisher_z,
    percentile_interval,
)
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.sums import Column
from trainer.errors import InvalidInput

_MOST_CELLS = 20_000_000
"""Prompts times second clusters: at 48 bytes each, the sums of one column take 1 GB."""

LEAD_WITHIN = "pearson_within_lead_over_"
"""Prefix of the statistics that compare a scorer with a trivial control on the same responses."""


def correlate(
    clusters: Ints,
    scores: Mapping[str, Floats],
    oracles: Mapping[str, Floats],
    *,
    draws: int,
    confidence: float,
    seed: int,
    second_cluster: Ints | None = None,
    temperature: float | None = None,
    stratum: str = "all",
    controls: Collection[str] = tuple(CONTROLS),
) -> list[Estimate]:
    """Every statistic of every scorer against every oracle, from one joint bootstrap over prompts.

    ``clusters`` (rows,) says which prompt a row answers, ``second_cluster`` (rows,) what else rows have in common.
    Scores and judgements (rows,) are missing where they are not finite; a row counts where both are there.
    ``controls`` names the trivial scorers: every other scorer's lead over each of them within prompts is given too.
    Raises InvalidInput where the second cluster has too many values to be one.
    """
    sample = _Sample(clusters, second_cluster, scores, oracles)
    method = describe_method(draws, confidence, crossed=second_cluster is not None)
    frame = _Frame(temperature, stratum, confidence, method)
    trivial = [name for name in scores if name in controls]
    learned = [name for name in scores if name not in controls]
    single = [sample.key(oracle, scorer) for oracle in oracles for scorer in scores]
    paired = [
        (sample.key(oracle, scorer, control), sample.key(oracle, control, scorer))
        for oracle in oracles
        for scorer in learned
        for control in trivial
    ]
    wanted = dict.fromkeys([*single, *(key for pair in paired for key in pair)])
    columns = [sample.column(key) for key in wanted]
    bootstrap = Bootstrap(sample.n_prompts, sample.n_second, draws, seed)
    totals = bootstrap.totals(columns) if sample.n_prompts > 1 else [None] * len(columns)
    measured = {
        key: {each.name: measure(each, column.contributions(None)[0], total) for each in STATISTICS}
        for key, column, total in zip(wanted, columns, totals, strict=True)
    }
    plain = [
        frame.estimate(key, sample.n_dropped(key), name, found)
        for key in single
        for name, found in measured[key].items()
    ]
    leads = [
        frame.lead(
            key, other, sample.n_dropped(key), measured[key]["pearson_within"], measured[other]["pearson_within"]
        )
        for key, other in paired
    ]
    return [*plain, *leads]


@dataclass(frozen=True)
class _Key:
    """Which column: a scorer and an oracle on the rows of ``usable``, packed bits."""

    scorer: str
    oracle: str
    usable: bytes


class _Sample:
    """The rows sorted by prompt, with prompts and second clusters numbered from 0."""

    def __init__(
        self, clusters: Ints, second: Ints | None, scores: Mapping[str, Floats], oracles: Mapping[str, Floats]
    ) -> None:
        order = np.argsort(clusters, kind="stable")
        prompts, self._prompt = np.unique(clusters[order], return_inverse=True)
        self.n_rows, self.n_prompts = len(clusters), len(prompts)
        self._second: Ints | None = None
        self.n_second: int | None = None
        if second is not None:
            groups, self._second = np.unique(second[order], return_inverse=True)
            self.n_second = len(groups)
            if self.n_prompts * self.n_second > _MOST_CELLS:
                raise InvalidInput(
                    f"the second cluster has {self.n_second} values for {self.n_prompts} prompts; "
                    "choose a column that groups the responses, such as the policy"
                )
        self._scores = {name: _finite_or_nan(values[order]) for name, values in scores.items()}
        self._oracles = {name: _finite_or_nan(values[order]) for name, values in oracles.items()}

    def key(self, oracle: str, scorer: str, *others: str) -> _Key:
        """The column of ``scorer`` on the rows where it, ``others`` and ``oracle`` are all known."""
        usable = np.isfinite(self._oracles[oracle])
        for name in (scorer, *others):
            usable &= np.isfinite(self._scores[name])
        return _Key(scorer, oracle, np.packbits(usable).tobytes())

    def column(self, key: _Key) -> Column:
        usable = self._usable(key)
        second = None if self._second is None else self._second[usable]
        return Column(
            self._prompt[usable],
            self._scores[key.scorer][usable],
            self._oracles[key.oracle][usable],
            self.n_prompts,
            second,
            self.n_second or 1,
        )

    def n_dropped(self, key: _Key) -> int:
        return self.n_rows - int(self._usable(key).sum())

    def _usable(self, key: _Key) -> np.typing.NDArray[np.bool_]:
        return np.unpackbits(np.frombuffer(key.usable, np.uint8), count=self.n_rows).astype(bool)


def _finite_or_nan(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True)
class _Frame:
    """What all estimates of one call have in common."""

    temperature: float | None
    stratum: str
    confidence: float
    method: str

    def estimate(self, key: _Key, n_dropped: int, statistic: str, measured: Measured) -> Estimate:
        """Put an interval around what was measured."""
        interval = Interval(None, None, None, measured.reason)
        if measured.replicates is not None:
            correlation = not statistic.startswith(("pairwise", LEAD_WITHIN))
            scale: Scale = "atanh" if correlation else "plain"
            interval = percentile_interval(measured.replicates, self.confidence, scale)
        return Estimate(
            scorer=key.scorer,
            oracle=key.oracle,
            statistic=statistic,
            stratum=self.stratum,
            temperature=self.temperature,
            estimate=measured.value,
            lower=interval.lower,
            upper=interval.upper,
            standard_error=interval.standard_error,
            n_prompts=measured.n_prompts,
            n_responses=measured.n_responses,
            n_dropped=n_dropped,
            method=self.method,
            undefined_reason=interval.undefined_reason,
        )

    def lead(self, key: _Key, other: _Key, n_dropped: int, own: Measured, control: Measured) -> Estimate:
        """atanh r of a scorer minus atanh |r| of a control, both within prompts, on the rows where both are known."""
        reasons = [
            f"{name}: {each.reason}" for name, each in ((key.scorer, own), (other.scorer, control)) if each.reason
        ]
        value = replicates = None
        if own.value is not None and control.value is not None:
            # a control may be read either way: 1 - truncated is as trivial as truncated
            sign = -1.0 if control.value < 0 else 1.0
            value = float(fisher_z(np.asarray(own.value)) - fisher_z(np.asarray(sign * control.value)))
            if own.replicates is not None and control.replicates is not None:
                replicates = fisher_z(own.replicates) - fisher_z(sign * control.replicates)
        found = Measured(value, replicates, own.n_prompts, own.n_responses, "; ".join(reasons) or None)
        return self.estimate(key, n_dropped, LEAD_WITHIN + other.scorer, found)

"""Sums of means over parts of a sample, such as the average of a benchmark's sections, with clustered intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints, summed_over_prompts
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.few_prompts import too_few_prompts
from evaluation.statistics.interval import Interval, describe_method, percentile_interval


@dataclass(frozen=True)
class Part:
    """``coefficient`` times the mean of ``values`` (rows,) over the rows that belong."""

    coefficient: float
    values: Floats
    """NaN where a row that belongs has no value."""

    belongs: NDArray[np.bool_]

    @property
    def key(self) -> tuple[int, int]:
        """Equal for parts that are the same mean."""
        return id(self.values), id(self.belongs)


@dataclass(frozen=True)
class Composite:
    """A number that is the sum of its parts."""

    statistic: str
    stratum: str
    parts: tuple[Part, ...]


def mean_of(statistic: str, stratum: str, values: Floats, belongs: NDArray[np.bool_]) -> Composite:
    """The composite that is a plain mean."""
    return Composite(statistic, stratum, (Part(1.0, values, belongs),))


def combined(statistic: str, stratum: str, shares: Sequence[tuple[float, Composite]]) -> Composite:
    """The weighted mean of other composites; weights need not sum to 1."""
    total = sum(weight for weight, _ in shares)
    parts = [
        Part(part.coefficient * weight / total, part.values, part.belongs)
        for weight, each in shares
        for part in each.parts
    ]
    return Composite(statistic, stratum, tuple(parts))


def estimate_composites(
    cluster: Ints,
    composites: Sequence[Composite],
    *,
    scorer: str,
    oracle: str,
    draws: int,
    confidence: float,
    seed: int,
) -> list[Estimate]:
    """Every composite with its interval over clusters (rows,), all from the same draws."""
    clusters, numbers = np.unique(cluster, return_inverse=True)
    bootstrap = Bootstrap(len(clusters), None, draws, seed)
    method = describe_method(draws, confidence, crossed=False)
    means: dict[tuple[int, int], _Mean] = {}
    for part in (part for each in composites for part in each.parts):
        # sections and totals are made of the same subsets, which are drawn for once
        if part.key not in means:
            means[part.key] = _Mean(numbers, part, len(clusters))
    totals = bootstrap.totals(list(means.values())) if len(clusters) > 1 else []
    drawn = dict(zip(means, totals, strict=False))
    estimates = []
    for each in composites:
        rows = np.any([part.belongs & np.isfinite(part.values) for part in each.parts], axis=0)
        belong = np.any([part.belongs for part in each.parts], axis=0)
        n_clusters = len(np.unique(numbers[rows]))
        empty = any(means[part.key].count == 0 for part in each.parts)
        value = None if empty else float(sum(part.coefficient * means[part.key].value for part in each.parts))
        interval = Interval(None, None, None, "a part of it has no scored row" if empty else None)
        if not empty and (few := too_few_prompts(n_clusters, confidence)):
            interval = Interval(None, None, None, few)
        elif not empty:
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = [part.coefficient * drawn[part.key][:, 1] / drawn[part.key][:, 0] for part in each.parts]
                replicates: Floats = np.sum(shares, axis=0)
            interval = percentile_interval(replicates, confidence, "plain")
        estimates.append(
            Estimate(
                scorer=scorer,
                oracle=oracle,
                statistic=each.statistic,
                stratum=each.stratum,
                estimate=value,
                lower=interval.lower,
                upper=interval.upper,
                standard_error=interval.standard_error,
                n_prompts=n_clusters,
                n_responses=int(rows.sum()),
                n_dropped=int((belong & ~rows).sum()),
                method=method,
                undefined_reason=interval.undefined_reason,
            )
        )
    return estimates


class _Mean:
    """Rows and their sum in each cluster; see ``bootstrap.Contributions``."""

    width = 2

    def __init__(self, cluster: Ints, part: Part, n_clusters: int) -> None:
        rows = part.belongs & np.isfinite(part.values)
        weights = (np.ones(int(rows.sum())), part.values[rows])
        sums = [np.bincount(cluster[rows], weights=each, minlength=n_clusters) for each in weights]
        self._sums: Floats = np.asarray(np.stack(sums, axis=-1), dtype=np.float64)
        self.count, total = self._sums.sum(axis=0)
        self.value = float(total / self.count) if self.count else np.nan

    def contributions(self, weights: Floats | None) -> Floats:
        assert weights is None  # prompts are the only clusters of a benchmark
        return self._sums[None]

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        return summed_over_prompts(prompt_weights, self.contributions(second_weights))

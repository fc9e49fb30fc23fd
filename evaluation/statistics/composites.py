"""Sums of means over parts of a sample, such as the average of a benchmark's sections, with clustered intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints, Known
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.measured import Frame, Measured
from evaluation.statistics.sums import summed


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
    # sections and totals are made of the same subsets, which are summed and drawn for once
    parts = {part.key: part for each in composites for part in each.parts}
    sums = {key: _summed(numbers, part, len(clusters)) for key, part in parts.items()}
    totals = Bootstrap(len(clusters), None, draws, seed).totals([Known(each) for each in sums.values()])
    drawn = dict(zip(sums, totals, strict=True))
    whole = {key: each.sum(axis=0) for key, each in sums.items()}
    estimates = []
    for each in composites:
        rows = np.any([part.belongs & np.isfinite(part.values) for part in each.parts], axis=0)
        belong = np.any([part.belongs for part in each.parts], axis=0)
        counts = len(np.unique(numbers[rows])), int(rows.sum())
        found = Measured(None, None, *counts, "a part of it has no scored row")
        if all(whole[part.key][0] for part in each.parts):
            found = Measured(
                float(_value(each, whole)), _value(each, drawn) if len(clusters) > 1 else None, *counts, None
            )
        frame = Frame(None, each.stratum, confidence, describe_draws(draws, crossed=False))
        estimates.append(frame.estimate(scorer, oracle, each.statistic, found, int((belong & ~rows).sum())))
    return estimates


def _value(composite: Composite, sums: Mapping[tuple[int, int], Floats | None]) -> Floats:
    """From the number of rows and their sum (..., 2) of every part."""
    with np.errstate(invalid="ignore", divide="ignore"):
        of = ((part.coefficient, np.asarray(sums[part.key])) for part in composite.parts)
        return np.asarray(sum(coefficient * (each[..., 1] / each[..., 0]) for coefficient, each in of))


def _summed(cluster: Ints, part: Part, n_clusters: int) -> Floats:
    """Rows and their sum in each cluster, (clusters, 2)."""
    rows = part.belongs & np.isfinite(part.values)
    values = part.values[rows]
    return summed([np.ones_like(values), values], cluster[rows], n_clusters, None, 1)[:, 0]

"""Means over responses, such as of the oracle's judgements at one temperature, with the same clustered intervals."""

from collections.abc import Mapping

import numpy as np

from evaluation.statistics.bootstrap import Bootstrap, Contributions, Floats, Ints
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.measured import Frame, measured
from evaluation.statistics.sample import Sample
from evaluation.statistics.sums import summed, weighted

MEAN = "mean"
"""The statistic's name. What is averaged stands as the scorer and as the oracle: it is compared with nothing."""


def averages(
    clusters: Ints,
    values: Mapping[str, Floats],
    *,
    draws: int,
    confidence: float,
    seed: int,
    second_cluster: Ints | None = None,
    temperature: float | None = None,
    stratum: str = "all",
) -> list[Estimate]:
    """The mean of each of ``values`` (rows,) over the rows where it is finite; arguments as for ``correlate``."""
    sample = Sample(clusters, second_cluster, values, {})
    method = describe_draws(draws, crossed=second_cluster is not None)
    frame = Frame(temperature, stratum, confidence, method, sample.n_rows, None)
    columns = {name: _Sums(sample, series) for name, series in sample.all_series().items()}
    totals = Bootstrap(sample.n_prompts, sample.n_second, draws, seed).totals(list(columns.values()))
    estimates = []
    for (name, column), total in zip(columns.items(), totals, strict=True):
        sums = column.contributions(None)[0]
        found = measured(_mean, sums, total, sums[:, 0] > 0, "no response has a value")
        estimates.append(frame.estimate(name, name, MEAN, found, sample.n_rows - found.n_responses))
    return estimates


def _mean(at: Floats) -> Floats:
    return np.asarray(at[..., 1] / at[..., 0])


class _Sums(Contributions):
    """How many rows a prompt and second cluster have, and their sum."""

    width = 2

    def __init__(self, sample: Sample, series: Floats) -> None:
        prompt, values, second = sample.series(series)
        self._cells = summed([np.ones_like(values), values], prompt, sample.n_prompts, second, sample.n_second or 1)

    def contributions(self, weights: Floats | None) -> Floats:
        return weighted(self._cells, weights)

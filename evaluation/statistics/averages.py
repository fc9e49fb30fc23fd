"""Means over responses, such as of the oracle's judgements at one temperature, with the same clustered intervals."""

from collections.abc import Mapping

import numpy as np

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints, summed_over_prompts
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.few_prompts import too_few_prompts
from evaluation.statistics.interval import Interval, describe_method, percentile_interval

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
    prompts, prompt = np.unique(clusters, return_inverse=True)
    groups, group = np.unique(
        np.zeros_like(clusters) if second_cluster is None else second_cluster, return_inverse=True
    )
    shape = len(prompts), len(groups)
    columns = [_Sums(prompt * len(groups) + group, each, shape) for each in values.values()]
    bootstrap = Bootstrap(shape[0], None if second_cluster is None else shape[1], draws, seed)
    totals = bootstrap.totals(columns) if len(prompts) > 1 else [None] * len(columns)
    estimates = []
    for name, column, total in zip(values, columns, totals, strict=True):
        by_prompt = column.contributions(None)[0]
        rows, whole = by_prompt.sum(axis=0)
        interval = Interval(None, None, None, None if rows else "no response has a value")
        if rows:
            interval = _interval(total, int((by_prompt[:, 0] > 0).sum()), confidence)
        estimates.append(
            Estimate(
                scorer=name,
                oracle=name,
                statistic=MEAN,
                stratum=stratum,
                temperature=temperature,
                estimate=float(whole / rows) if rows else None,
                lower=interval.lower,
                upper=interval.upper,
                standard_error=interval.standard_error,
                n_prompts=int((by_prompt[:, 0] > 0).sum()),
                n_responses=int(rows),
                n_dropped=len(clusters) - int(rows),
                n_total=len(clusters),
                method=describe_method(draws, confidence, crossed=second_cluster is not None),
                undefined_reason=interval.undefined_reason,
            )
        )
    return estimates


def _interval(totals: Floats | None, n_prompts: int, confidence: float) -> Interval:
    few = too_few_prompts(n_prompts, confidence)
    if totals is None or few is not None:
        return Interval(None, None, None, few)
    with np.errstate(invalid="ignore"):
        return percentile_interval(totals[:, 1] / totals[:, 0], confidence, "plain")


class _Sums:
    """How many rows a prompt and second cluster have, and their sum; see ``bootstrap.Contributions``."""

    width = 2

    def __init__(self, cell: Ints, values: Floats, shape: tuple[int, int]) -> None:
        known = np.isfinite(values)
        sums = [
            np.bincount(cell[known], weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
            for weights in (np.ones(int(known.sum())), values[known])
        ]
        self._sums = np.stack(sums, axis=-1)

    def contributions(self, weights: Floats | None) -> Floats:
        if weights is None:
            return np.asarray(self._sums.sum(axis=1)[None])
        return np.asarray(np.tensordot(weights, self._sums, axes=(1, 1)))

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        return summed_over_prompts(prompt_weights, self.contributions(second_weights))

"""How far scores or judgements spread, and what r would be if they spread as they do at another temperature.

At low temperature responses are alike, so that their judgements hardly differ, and r falls with nothing having become
worse. Thorndike's case 2 (Thorndike 1949, "Personnel selection", p. 173; Pearson 1903) says what r would be at another
spread: with u = reference sd / sd, r u / sqrt(1 + r^2 (u^2 - 1)), if the regression of scores on judgements is
linear and its scatter the same throughout.
"""

import numpy as np

from evaluation.statistics.bootstrap import Contributions, Floats, Ints
from evaluation.statistics.interval import fisher_z
from evaluation.statistics.measured import ONE_PROMPT, Measured, measured
from evaluation.statistics.sums import standardised, summed, weighted

SD, SD_WITHIN = "sd", "sd_within"
CORRECTED = "pearson_within_range_corrected"
TREND = "pearson_within_trend"


class SpreadSums(Contributions):
    """Per prompt [n, present, Sx, Sxx, Cxx] of one series."""

    width = 5

    def __init__(self, prompt: Ints, values: Floats, n_prompts: int, second: Ints | None, n_second: int) -> None:
        self.scale = scale_of(values)
        x = standardised(values)
        self._cells = summed([np.ones_like(x), x, x * x], prompt, n_prompts, second, n_second)

    def contributions(self, weights: Floats | None) -> Floats:
        n, s, ss = np.moveaxis(weighted(self._cells, weights), -1, 0)
        return np.stack([n, n > 0, s, ss, ss - s * s / np.maximum(n, 1)], axis=-1).astype(np.float64)


def scale_of(values: Floats) -> float:
    """The standard deviation by which ``standardised`` divides; 0 where nothing varies."""
    if not len(values) or values.min() == values.max():
        return 0.0
    largest = np.abs(values).max()
    return float((values / largest).std() * largest)


def spread_measures(column: SpreadSums, sums: Floats, totals: Floats | None) -> dict[str, Measured]:
    """By name, the standard deviation of all responses and that within prompts, in the series' own unit."""

    def pooled(at: Floats) -> Floats:
        n = at[..., 0]
        variance = at[..., 3] / n - (at[..., 2] / n) ** 2
        return np.asarray(column.scale * np.sqrt(np.maximum(variance, 0) * n / (n - 1)))

    def within(at: Floats) -> Floats:
        return np.asarray(column.scale * np.sqrt(np.maximum(at[..., 4], 0) / (at[..., 0] - at[..., 1])))

    return {
        SD: measured(pooled, sums, totals, sums[:, 0] > 0, "fewer than two responses have a value"),
        SD_WITHIN: measured(within, sums, totals, sums[:, 0] > 1, "no prompt has two responses with a value"),
    }


def range_corrected(r: Measured, sd: Measured, reference: Measured) -> Measured:
    """r as if judgements had the ``reference`` standard deviation instead of ``sd``, from the same bootstrap draws."""
    missing = r.reason if r.value is None else sd.reason if not sd.value else reference.reason
    if r.value is None or not sd.value or not reference.value:
        return Measured(None, None, r.n_prompts, r.n_responses, missing or "the judgements do not differ")
    value = float(_thorndike(np.asarray(r.value), np.asarray(reference.value / sd.value)))
    if r.replicates is None or sd.replicates is None or reference.replicates is None:
        return Measured(
            value, None, r.n_prompts, r.n_responses, r.reason or sd.reason or reference.reason or ONE_PROMPT
        )
    with np.errstate(all="ignore"):
        replicates = _thorndike(r.replicates, reference.replicates / sd.replicates)
    return Measured(value, replicates, r.n_prompts, r.n_responses, None, r.n_constant_prompts)


def trend(temperatures: Floats, path: list[Measured]) -> Measured:
    """Least-squares slope of atanh r over temperature, per degree, from the same bootstrap draws."""
    known = [index for index, each in enumerate(path) if each.replicates is not None and each.value is not None]
    n_prompts = min((path[index].n_prompts for index in known), default=0)
    n_responses = sum(path[index].n_responses for index in known)
    if len(known) < 3:
        return Measured(None, None, n_prompts, n_responses, "defined at fewer than three temperatures")
    centred = temperatures[known] - temperatures[known].mean()
    slope = centred / (centred**2).sum()
    values = fisher_z(np.array([path[index].value for index in known], dtype=np.float64))
    replicates = fisher_z(np.stack([np.asarray(path[index].replicates) for index in known]))
    return Measured(float(slope @ values), slope @ replicates, n_prompts, n_responses, None)


def _thorndike(r: Floats, u: Floats) -> Floats:
    return np.asarray(r * u / np.sqrt(1 + r * r * (u * u - 1)))

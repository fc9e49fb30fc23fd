"""From sums over prompts to estimates: a value, its value in every bootstrap draw, an interval around it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.estimate import CurvePoint, Estimate
from evaluation.statistics.few_prompts import nothing_moves, too_few_prompts
from evaluation.statistics.interval import (
    LEAST_ERROR_OF_A_MEAN,
    Interval,
    Scale,
    Spread,
    fisher_z,
    percentile_interval,
    simultaneous_intervals,
    unanimous_interval,
)

ONE_PROMPT = "one prompt alone has no draws"


@dataclass(frozen=True)
class Measured:
    """A statistic of one column: its value, its value in every draw, and how many prompts and rows are behind it."""

    value: float | None
    replicates: Floats | None
    n_prompts: int
    n_responses: int
    reason: str | None
    n_constant_prompts: int | None = None
    """Prompts with two responses or more whose scores are all equal, or whose judgements are."""

    errors: tuple[float, Floats] | None = None
    """Standard error of the sample, and of every draw (draws,), of atanh for a correlation; see ``influence``."""

    bounds: tuple[float, float] | None = None
    """Of a mean over prompts: between which numbers each prompt's lies."""

    exact: bool = False
    """Whether all prompts count equally in such a mean, and nothing but prompts was drawn."""

    def spread(self, scale: Scale) -> Spread | None:
        """What a studentised interval on that scale is made of; None without standard errors."""
        if self.value is None or self.replicates is None or self.errors is None:
            return None
        value, replicates = np.asarray(self.value), self.replicates
        if scale == "atanh":
            value, replicates = fisher_z(value), fisher_z(replicates)
        spread = Spread(float(value), replicates, *self.errors)
        return spread if self.bounds is None else replace(spread, least=LEAST_ERROR_OF_A_MEAN)


def measured(
    function: Callable[[Floats], Floats],
    sums: Floats,
    totals: Floats | None,
    contributing: NDArray[np.bool_],
    missing: str,
) -> Measured:
    """``function`` of the sums over all prompts (width,), and of each draw's ``totals`` (draws, width).

    ``sums`` (prompts, width) begin with the number of rows; ``contributing`` (prompts,) says which count as being
    behind the number, and ``missing`` why it does not exist where it is NaN.
    """
    n_prompts, n_responses = int(contributing.sum()), int(sums[contributing, 0].sum())
    with np.errstate(all="ignore"):
        value = float(function(sums.sum(axis=0)))
        if not n_prompts or not np.isfinite(value):
            return Measured(None, None, n_prompts, n_responses, missing)
        if totals is None or n_prompts < 2:
            return Measured(value, None, n_prompts, n_responses, ONE_PROMPT)
        return Measured(value, np.asarray(function(totals)), n_prompts, n_responses, None)


@dataclass(frozen=True)
class Frame:
    """What all estimates of one temperature and stratum have in common."""

    temperature: float | None
    stratum: str
    confidence: float
    method: str
    """What was drawn; ``numbers`` adds which interval was made of it."""

    n_total: int | None = None
    """Rows there are, whether they have values or not; None where that says nothing."""

    n_truncated: int | None = None

    def estimate(
        self, scorer: str, oracle: str, statistic: str, found: Measured, n_dropped: int, scale: Scale = "plain"
    ) -> Estimate:
        """A row of ``correlations``."""
        return Estimate(
            scorer=scorer, statistic=statistic, **self.numbers(oracle, found, n_dropped, self.interval(found, scale))
        )

    def point(self, scorer: str, oracle: str, curve: str, x: float, found: Measured, n_dropped: int) -> CurvePoint:
        """A row of ``curves``."""
        return CurvePoint(
            scorer=scorer, curve=curve, x=x, **self.numbers(oracle, found, n_dropped, self.interval(found, "plain"))
        )

    def interval(self, found: Measured, scale: Scale) -> Interval:
        """The interval of what was measured, studentised where its draws have standard errors, or why there is none."""
        few = too_few_prompts(found.n_prompts, self.confidence)
        if found.value is None or found.replicates is None or few is not None:
            return Interval(None, None, None, found.reason if found.value is None else few or found.reason)
        if found.exact and found.bounds is not None and nothing_moves(found.replicates):
            return unanimous_interval(found.value, found.bounds, found.n_prompts, self.confidence)
        spread = found.spread(scale)
        if spread is None:
            return percentile_interval(found.replicates, self.confidence, scale)
        [interval] = simultaneous_intervals([spread], self.confidence)
        if interval.lower is None or interval.upper is None:
            return interval
        ends = np.array([interval.lower, interval.upper])
        lower, upper = np.tanh(ends) if scale == "atanh" else np.clip(ends, *(found.bounds or (-np.inf, np.inf)))
        error = float(np.nanstd(found.replicates, ddof=1))
        return replace(interval, lower=float(lower), upper=float(upper), standard_error=error)

    def numbers(self, oracle: str, found: Measured, n_dropped: int, interval: Interval) -> dict[str, Any]:
        """All fields that every estimate has."""
        return {
            "oracle": oracle,
            "stratum": self.stratum,
            "temperature": self.temperature,
            "estimate": found.value,
            "lower": interval.lower,
            "upper": interval.upper,
            "standard_error": interval.standard_error,
            "n_prompts": found.n_prompts,
            "n_responses": found.n_responses,
            "n_dropped": n_dropped,
            "n_total": self.n_total,
            "n_truncated": self.n_truncated,
            "n_constant_prompts": found.n_constant_prompts,
            "method": f"{self.method}, {100 * self.confidence:g} % {interval.kind} interval",
            "undefined_reason": interval.undefined_reason,
        }

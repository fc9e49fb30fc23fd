"""From sums over prompts to estimates: a value, its value in every bootstrap draw, an interval around it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats, Interval, Scale, percentile_interval
from evaluation.statistics.estimate import CurvePoint, Estimate

ONE_PROMPT = "an interval needs two prompts"


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
    n_total: int
    n_truncated: int | None

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
        """The percentile interval of what was measured, or why there is none."""
        if found.replicates is None:
            return Interval(None, None, None, found.reason)
        return percentile_interval(found.replicates, self.confidence, scale)

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
            "method": self.method,
            "undefined_reason": interval.undefined_reason,
        }

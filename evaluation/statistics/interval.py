"""Intervals from bootstrap draws: percentile, and studentised where influences are known.

A percentile interval takes its ends from the draws as they are. Of few prompts, or of prompts that count very
unequally, it is too narrow: the draws spread as the sample does, and the sample's spread is itself a guess. The
studentised interval (Efron 1979; Hall 1988, "Theoretical comparison of bootstrap confidence intervals") divides every
draw's deviation by that draw's own standard error, as Student does:

    t* = (z* - z) / max(s*, 0.6 s),    interval z +- q s,     q the c-quantile of |t*|.

The bound is for samples that hang on one prompt: 37 % of their draws miss it, and those have next to no s* left just
where z* is farthest from z. Means over prompts have 0.3 in its place: of eight prompts that are won but for one, 0.6
would tell the share from a coin's.

With jackknife influences u_p of the prompts (see ``influence``), s^2 = sum_p u_p^2 and s*^2 = sum_p W_p u_p^2 -
(sum_p W_p u_p)^2 / P, which are two more sums over prompts and no derivative.

Of several numbers each |t*| is first divided by its own c-quantile, so that none of them decides for all (Beran 1988,
"Balanced simultaneous confidence sets"); q is that quantile times the c-quantile of the largest quotient among them,
and all intervals then hold at once (max-T: Westfall and Young 1993; Romano and Wolf 2005).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.few_prompts import NOTHING_MOVES, nothing_moves, unanimous_ends

Scale = Literal["atanh", "plain"]

_MOST_UNDEFINED_DRAWS = 0.1
"""An interval over fewer than nine tenths of the draws would describe another population."""

MOTIONLESS = 1e-9
"""On the scale of atanh r a standard error this small is rounding."""

_LEAST_ERROR = 0.6
"""A draw's standard error is taken to be at least this share of the sample's; docs/statistics.md says what it costs."""

LEAST_ERROR_OF_A_MEAN = 0.3
"""The same where a number is a mean over prompts."""

BEYOND_RANGE = "the draws spread beyond what floating point numbers can hold"


@dataclass(frozen=True)
class Interval:
    """Two ends and the standard error; all None where there is no interval.

    The error is the draws' standard deviation; of an exact interval it is that of a normal one as wide.
    """

    lower: float | None
    upper: float | None
    standard_error: float | None
    undefined_reason: str | None = None
    kind: Literal["percentile", "studentised", "symmetric", "exact"] = "percentile"


@dataclass(frozen=True)
class Spread:
    """A number, what it is in every draw, and its standard error in the sample and in every draw."""

    value: float
    replicates: Floats
    error: float
    errors: Floats
    least: float = _LEAST_ERROR
    """Share of the sample's standard error that a draw's is taken to have at least."""

    def deviations(self) -> Floats:
        """|t*| of every draw (draws,), NaN where the draw leaves the number undefined; zeros where nothing moves."""
        if self.error <= 0:
            return 0 * self.replicates
        return np.asarray(np.abs(self.replicates - self.value) / np.maximum(self.errors, self.least * self.error))


def percentile_interval(replicates: Floats, confidence: float, scale: Scale) -> Interval:
    """Interval of a statistic from its bootstrap ``replicates`` (draws,), NaN where a draw left it undefined.

    On the ``atanh`` scale of correlations, neighbouring draws are interpolated where their spread is even.
    """
    defined = replicates[np.isfinite(replicates)]
    if reason := _undefined(replicates) or _motionless(replicates):
        return Interval(None, None, None, reason)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = np.tanh(np.quantile(fisher_z(defined), tails)) if scale == "atanh" else np.quantile(defined, tails)
    with np.errstate(over="ignore"):
        error = defined.std(ddof=1)
    return _interval(ends[0], ends[1], error)


def unanimous_interval(value: float, bounds: tuple[float, float], n_prompts: int, confidence: float) -> Interval:
    """The exact interval of a mean over prompts that count equally, each within ``bounds`` and each ``value``."""
    lower, upper = unanimous_ends(value, bounds, n_prompts, confidence)
    error = (upper - lower) / 2 / NormalDist().inv_cdf((1 + confidence) / 2)
    return Interval(lower, upper, error, kind="exact")


def simultaneous_intervals(spreads: Sequence[Spread], confidence: float) -> list[Interval]:
    """Studentised intervals of several numbers, at least one, from equal draws; with ``confidence`` all of them hold.

    A number that no draw moves, or too many leave undefined, has no interval, and no say in those of the others.
    """
    with np.errstate(all="ignore"):
        deviations = [each.deviations() for each in spreads]
        reasons = [
            _undefined(deviation) or _motionless(each.replicates)
            for each, deviation in zip(spreads, deviations, strict=True)
        ]
        widths = iter(_widths([each for each, why in zip(deviations, reasons, strict=True) if why is None], confidence))
        found = [
            _about(each, next(widths)) if why is None else Interval(None, None, None, why)
            for each, why in zip(spreads, reasons, strict=True)
        ]
    return [replace(each, kind="studentised") for each in found]


def _widths(deviations: Sequence[Floats], confidence: float) -> list[float]:
    """q of each number from its |t*| (draws,): its own quantile, widened so that all hold at once."""
    own = [float(np.nanquantile(each, confidence)) for each in deviations]
    moving = [each / q for each, q in zip(deviations, own, strict=True) if q > 0]
    if len(moving) < 2:
        return own
    widening = np.nanquantile(np.fmax.reduce(moving), confidence)
    return [q * float(widening) for q in own]


def _about(spread: Spread, q: float) -> Interval:
    error = spread.replicates[np.isfinite(spread.replicates)].std(ddof=1)
    return _interval(spread.value - q * spread.error, spread.value + q * spread.error, error)


def fisher_z(correlation: Floats) -> Floats:
    """atanh of a correlation; what rounding cannot tell from +-1 becomes large but finite."""
    limit = 1 - 1e-12
    return np.arctanh(np.clip(correlation, -limit, limit))


def describe_draws(draws: int, *, crossed: bool) -> str:
    """What was drawn, for whoever reads the estimate."""
    clusters = "bootstrap of prompts crossed with second clusters" if crossed else "prompt-cluster bootstrap"
    return f"{clusters}, {draws} draws"


def _undefined(draws: Floats) -> str | None:
    """Why too few of the draws (draws,) are defined, NaN being undefined, to make an interval."""
    undefined = int((~np.isfinite(draws)).sum())
    if undefined <= _MOST_UNDEFINED_DRAWS * draws.size and draws.size - undefined > 1:
        return None
    return f"undefined in {undefined} of {draws.size} bootstrap draws"


def _motionless(draws: Floats) -> str | None:
    return NOTHING_MOVES if nothing_moves(draws) else None


def _interval(lower: float, upper: float, error: float) -> Interval:
    if not np.isfinite([lower, upper, error]).all():
        return Interval(None, None, None, BEYOND_RANGE)
    return Interval(float(lower), float(upper), float(error))

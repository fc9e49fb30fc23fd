"""How far what is scored now is from what was scored before: two samples, their clusters being prompts.

The Kolmogorov-Smirnov distance D = sup_x |F(x) - G(x)| says what share of the mass would have to move. Estimated from
samples it is never 0, so a percentile interval of its bootstrap draws excludes 0 also where nothing moved. The bound
here is on the whole process: with F*, G* of samples of prompts drawn again and q the c-quantile of

    sup_x |(F*(x) - F^(x)) - (G*(x) - G^(x))|,

|D^ - D| <= q in a share c of studies, because suprema differ by no more than the supremum of the difference
(Bickel and Freedman 1981, "Some asymptotic theory for the bootstrap"; Kosorok 2008, ch. 10, for clusters). Where D = 0
the interval begins at 0 in that share of studies; elsewhere it is wider than it need be.

The standardised shift of the mean, (mean F - mean G) / sd G, says which way; its interval is the percentile interval
of the same draws. Of shares, the difference has Newcombe's interval (1998, "Interval estimation for the difference
between independent proportions", method 10) from the Wilson intervals [l, u] of both:

    d - sqrt((p - l)^2 + (u' - p')^2)   to   d + sqrt((u - p)^2 + (p' - l')^2).
"""

import math
from dataclasses import dataclass

import numpy as np

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.few_prompts import too_few_prompts
from evaluation.statistics.interval import percentile_interval
from trainer.recipe import Model


class Bounded(Model):
    """A number and its interval; all None, or the interval alone, with the reason why."""

    estimate: float | None
    lower: float | None
    upper: float | None
    undefined_reason: str | None = None


class Counted(Bounded):
    """A number, its interval, and what it was computed from."""

    n_responses: int
    n_prompts: int


@dataclass(frozen=True)
class Clustered:
    """Values (rows,) and which prompt each belongs to (rows,), from 0 without a gap."""

    values: Floats
    prompt: Ints

    @property
    def n_prompts(self) -> int:
        return int(self.prompt.max(initial=-1)) + 1


class Moved(Model):
    """What two samples of one number differ in."""

    distance: Bounded
    """Kolmogorov-Smirnov, within [0, 1]."""
    shift: Bounded
    """Of the mean, in standard deviations of the earlier sample."""
    now: tuple[float, ...] = ()
    """Quantiles at 0, 1, ..., 100 %, to six digits. Empty where an older version stored this."""
    before: tuple[float, ...] = ()


_LEAST_PROMPTS = 10
"""Of either sample. Of fewer, clustered scores that did not move seem to; docs/monitoring.md says how often."""

_NOTHING = "nothing to count"


def moved(now: Clustered, before: Clustered, *, draws: int = 500, confidence: float = 0.95, seed: int = 0) -> Moved:
    """How far ``now`` has moved from ``before``; nothing is told where either has fewer than ten prompts."""
    few = too_few_prompts(min(now.n_prompts, before.n_prompts), confidence, _LEAST_PROMPTS)
    if few is not None:
        nothing = Bounded(estimate=None, lower=None, upper=None, undefined_reason=f"{few} on either side")
        return Moved(distance=nothing, shift=nothing, now=_quantiles(now), before=_quantiles(before))
    grid = np.union1d(now.values, before.values)
    f, g = _Sample(now, grid), _Sample(before, grid)
    weights, others = f.draws(draws, 2 * seed), g.draws(draws, 2 * seed + 1)
    gap = f.distribution(f.every) - g.distribution(g.every)
    apart = [
        np.abs(f.distribution(weight) - g.distribution(other) - gap).max()
        for weight, other in zip(weights, others, strict=True)
    ]
    distance, q = float(np.abs(gap).max()), float(np.quantile(apart, confidence))
    [shift] = _shifts(f.moments(f.every[None]), g.moments(g.every[None]))
    shifts = _shifts(f.moments(weights), g.moments(others))
    return Moved(
        distance=Bounded(estimate=distance, lower=max(0.0, distance - q), upper=min(1.0, distance + q)),
        shift=_bounded_shift(float(shift), shifts, confidence),
        now=_quantiles(now),
        before=_quantiles(before),
    )


def share(counted: tuple[int, int], confidence: float = 0.95) -> Bounded:
    """``(how many, of how many)`` as a share with its Wilson interval."""
    if counted[1] == 0:
        return Bounded(estimate=None, lower=None, upper=None, undefined_reason=_NOTHING)
    estimate, lower, upper = _wilson(*counted, confidence)
    return Bounded(estimate=estimate, lower=lower, upper=upper)


def share_moved(now: tuple[int, int], before: tuple[int, int], confidence: float = 0.95) -> Bounded:
    """The difference of two shares, each ``(how many, of how many)``, independent of each other."""
    if min(now[1], before[1]) == 0:
        return Bounded(estimate=None, lower=None, upper=None, undefined_reason=_NOTHING)
    (p, low, high), (q, low_q, high_q) = _wilson(*now, confidence), _wilson(*before, confidence)
    lower, upper = math.hypot(p - low, high_q - q), math.hypot(high - p, q - low_q)
    return Bounded(estimate=p - q, lower=max(-1.0, p - q - lower), upper=min(1.0, p - q + upper))


def least_size(each: Bounded) -> float | None:
    """The smallest absolute value in the interval; 0 where it holds 0."""
    if each.lower is None or each.upper is None:
        return None
    return max(0.0, each.lower, -each.upper)


def _quantiles(sample: Clustered) -> tuple[float, ...]:
    if sample.values.size == 0:
        return ()
    return tuple(float(f"{each:.6g}") for each in np.quantile(sample.values, np.linspace(0, 1, 101)))


def _wilson(count: int, total: int, confidence: float) -> tuple[float, float, float]:
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # commands that list jobs come by here

    interval = binomtest(count, total).proportion_ci(confidence, method="wilson")
    return count / total, float(interval.low), float(interval.high)


def _shifts(now: Floats, before: Floats) -> Floats:
    """Of moments (draws, 2): by how many standard deviations the means are apart (draws,), NaN where there is none."""
    sd = before[:, 1]
    return np.where(sd > 0, (now[:, 0] - before[:, 0]) / np.where(sd > 0, sd, 1.0), np.nan)


def _bounded_shift(shift: float, shifts: Floats, confidence: float) -> Bounded:
    if not math.isfinite(shift):
        return Bounded(estimate=None, lower=None, upper=None, undefined_reason="the earlier sample is constant")
    found = percentile_interval(shifts, confidence, "plain")
    return Bounded(estimate=shift, lower=found.lower, upper=found.upper, undefined_reason=found.undefined_reason)


class _Sample:
    """One sample on the grid of both."""

    def __init__(self, sample: Clustered, grid: Floats) -> None:
        self._prompt = sample.prompt
        self._place = np.searchsorted(grid, sample.values)
        self._size = grid.size
        self._center = float(sample.values.mean())  # sums of squares of what is far from 0 would lose digits
        centred = sample.values - self._center
        self._sums = np.stack(
            [np.bincount(sample.prompt, each) for each in (np.ones_like(centred), centred, centred**2)], axis=1
        )
        self.every = np.ones(sample.n_prompts)

    def draws(self, count: int, seed: int) -> Floats:
        """How often each prompt counts in each draw (draws, prompts)."""
        return np.concatenate(list(Bootstrap(self.every.size, None, count, seed).weights(1)))

    def distribution(self, weights: Floats) -> Floats:
        """F at every point of the grid (grid,)."""
        mass = np.cumsum(np.bincount(self._place, weights[self._prompt], minlength=self._size))
        return np.asarray(mass / mass[-1])

    def moments(self, weights: Floats) -> Floats:
        """Mean and standard deviation (draws, 2) with prompts weighted (draws, prompts)."""
        n, s1, s2 = (weights @ self._sums).T
        variance = np.maximum(s2 / n - (s1 / n) ** 2, 0.0)
        return np.stack([self._center + s1 / n, np.sqrt(variance)], axis=1)

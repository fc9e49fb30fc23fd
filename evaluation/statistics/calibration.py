"""Whether sigma(s_i - s_j) is the probability that the oracle prefers response i to j, as a reward model claims.

Over pairs that the oracle decides, with D the score difference of the preferred minus the other response:

- slope b maximises sum log sigma(b D), the logistic regression of the oracle's order on D without intercept (Cox
  1958): 1 is calibrated, below 1 overconfident;
- Brier score: mean of (1 - sigma(D))^2 (Brier 1950), 1/4 for a coin;
- ECE: over bins of equally many pairs by confidence sigma(|D|), the mean of |share ordered as the oracle does - mean
  confidence| (Naeini et al. 2015, with the bins of Nguyen and O'Connor 2015);
- temperature 1/b divides the differences (Guo et al. 2017); fitted once, it is applied everywhere else.

In a bootstrap sample b moves by one Newton step from the whole sample's b: gradient over curvature, both sums over
pairs. Bins are those of the whole sample, and draws of an ECE are centred on its value.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.measured import Measured, measured
from evaluation.statistics.pairs import Binned, Pairs, bin_edges, blocks, in_bins

SLOPE, BRIER, ECE, TEMPERATURE = (
    "calibration_slope",
    "calibration_brier",
    "calibration_ece",
    "calibration_temperature",
)
TEMPERED_SLOPE, TEMPERED_BRIER, TEMPERED_ECE = (
    "calibration_tempered_slope",
    "calibration_tempered_brier",
    "calibration_tempered_ece",
)
RELIABILITY = "reliability"
"""The curve's name; x is a bin's mean confidence after the temperature, if there is one."""

BINS = 10
CALIBRATION_WIDTH = 4 + 4 * BINS
_STEPS = 100
_MANY, _EVERY = 100_000, 50
"""Of so many pairs, each so manieth tells first about where the slope is: the steps over all of them become few."""

_STEEPEST = 1e4
"""In units of the differences' own size: beyond it only perfect order is left to describe."""

NO_DECISIONS = "no prompt has two responses judged differently"
NO_SLOPE = "no finite slope: every pair is ordered as the oracle does, or none is, or scores never differ"
NO_TEMPERATURE = "no temperature could be fitted: scores follow the oracle's order perfectly, or not at all"


@dataclass(frozen=True)
class Fit:
    """What is known of one scorer's pairs before any draw."""

    slope: float | None
    """b; None where it is not finite."""

    temperature: float | None
    """What differences are divided by; fitted elsewhere or here."""

    edges: Floats
    """|D| between one bin of confidence and the next."""


def confidence_edges(pairs: Pairs) -> Floats:
    """What divides the pairs into bins of equally many by their confidence sigma(|D|), and so by |D|."""
    return bin_edges(np.abs(pairs.difference), BINS)


def fit_slope(pairs: Pairs) -> float | None:
    """b where the likelihood's slope is 0: Newton's steps within what must hold it, and halving where they leave it.

    The likelihood is concave, so its slope sum D sigma(-b D) falls as b rises, and its sign says on which side b is.
    """
    d = pairs.difference
    scale = float(np.sqrt(d @ d / len(d))) if len(d) else 0.0
    if scale == 0 or not (d.min() < 0 < d.max()):
        return None
    few = _slope(d[::_EVERY], scale, 0.0) if len(d) > _MANY else None
    b = _slope(d, scale, 0.0 if few is None else few)
    return None if b is None or abs(b) >= _STEEPEST / 2 else b / scale


def _slope(d: Floats, scale: float, b: float) -> float | None:
    """b of the differences ``d`` in units of ``scale``, searched from ``b`` on; None where it is not found."""
    low, high = -_STEEPEST, _STEEPEST
    for _ in range(_STEPS):
        slope, curvature = np.sum([_derivatives(d[block] / scale, b) for block in blocks(len(d))], axis=0)
        low, high = (b, high) if slope > 0 else (low, b)
        proposed = b + slope / curvature if curvature > 0 else np.inf
        step = (proposed if low < proposed < high else (low + high) / 2) - b
        b += float(step)
        if abs(step) < 1e-10 * (1 + abs(b)):
            return b
    return None


def _derivatives(x: Floats, b: float) -> tuple[float, float]:
    """Slope sum x sigma(-b x) of the likelihood and its curvature sum x^2 sigma(-b x) sigma(b x)."""
    p = sigmoid(-b * x)
    slope = float(p @ x)
    p -= p * p
    p *= x
    return slope, float(p @ x)


def temperature_of(slope: float | None) -> float | None:
    """What makes a scorer with this slope calibrated; None for one that does not follow the oracle."""
    return 1 / slope if slope is not None and slope > 0 else None


def calibration_numbers(pairs: Pairs, fit: Fit) -> Iterator[Binned]:
    """Gradient, curvature, two Brier scores; by bin: pairs, ordered as the oracle does, confidence plain, tempered."""
    d = pairs.difference
    wrong = sigmoid(-(fit.slope or 0.0) * d)
    yield Binned(wrong * d)
    with np.errstate(under="ignore"):
        wrong -= wrong * wrong
        yield Binned(wrong * d * d)
    plain, tempered = sigmoid(d), sigmoid(d / (fit.temperature or 1.0))
    yield Binned((1 - plain) ** 2)
    yield Binned((1 - tempered) ** 2)
    bins = in_bins(np.abs(d), fit.edges)
    yield Binned(None, bins, BINS)
    yield Binned((1 + np.sign(d)) / 2, bins, BINS)
    yield Binned(np.maximum(plain, 1 - plain), bins, BINS)
    yield Binned(np.maximum(tempered, 1 - tempered), bins, BINS)


def calibration_measures(
    sums: Floats, totals: Floats | None, start: int, fit: Fit, *, fitted_here: bool
) -> tuple[dict[str, Measured], list[tuple[float, Measured]]]:
    """By name; and of each bin its mean confidence and the share of its pairs ordered as the oracle does.

    ``start`` is where the numbers' sums begin; ``fitted_here`` says that the temperature comes from these very pairs.
    """
    view = _Sums(start)
    decided = view.count(sums) > 0
    none = np.zeros_like(decided)
    has_slope, has_temperature = decided if fit.slope is not None else none, decided if fit.temperature else none
    b, tau = fit.slope or 0.0, fit.temperature or 1.0

    def slope(at: Floats) -> Floats:
        return b + at[..., start] / at[..., start + 1]

    def brier(at: Floats) -> Floats:
        return np.asarray(at[..., start + 2] / view.count(at))

    def tempered_brier(at: Floats) -> Floats:
        return np.asarray(at[..., start + 3] / view.count(at))

    found = {
        SLOPE: measured(slope, sums, totals, has_slope, NO_SLOPE if decided.any() else NO_DECISIONS),
        BRIER: measured(brier, sums, totals, decided, NO_DECISIONS),
        ECE: _centred(measured(lambda at: view.ece(at, 2), sums, totals, decided, NO_DECISIONS)),
        TEMPERED_SLOPE: measured(lambda at: tau * slope(at), sums, totals, has_slope & has_temperature, NO_TEMPERATURE),
        TEMPERED_BRIER: measured(tempered_brier, sums, totals, has_temperature, NO_TEMPERATURE),
        TEMPERED_ECE: _centred(measured(lambda at: view.ece(at, 3), sums, totals, has_temperature, NO_TEMPERATURE)),
    }
    if fitted_here:

        def temperature(at: Floats) -> Floats:
            return np.asarray(np.where(slope(at) > 0, 1 / slope(at), np.nan))

        found[TEMPERATURE] = measured(temperature, sums, totals, has_temperature, NO_TEMPERATURE)
    return found, view.reliability(sums, totals)


@dataclass(frozen=True)
class _Sums:
    """Where the sums by bin stand."""

    start: int

    def by_bin(self, at: Floats, which: int) -> Floats:
        first = self.start + 4 + which * BINS
        return at[..., first : first + BINS]

    def count(self, at: Floats) -> Floats:
        return np.asarray(self.by_bin(at, 0).sum(axis=-1))

    def ece(self, at: Floats, which: int) -> Floats:
        return np.asarray(np.abs(self.by_bin(at, 1) - self.by_bin(at, which)).sum(axis=-1) / self.count(at))

    def share(self, index: int, at: Floats) -> Floats:
        """Of a bin's pairs, those ordered as the oracle does."""
        return np.asarray(self.by_bin(at, 1)[..., index] / self.by_bin(at, 0)[..., index])

    def reliability(self, sums: Floats, totals: Floats | None) -> list[tuple[float, Measured]]:
        whole = sums.sum(axis=0)
        confidence = self.by_bin(whole, 3) / np.maximum(self.by_bin(whole, 0), 1)
        return [
            (
                float(confidence[index]),
                measured(
                    partial(self.share, index),
                    sums,
                    totals,
                    self.by_bin(sums, 0)[:, index] > 0,
                    NO_DECISIONS,
                ),
            )
            for index in range(BINS)
            if self.by_bin(whole, 0)[index] > 0
        ]


def _centred(found: Measured) -> Measured:
    """Draws moved to lie about the value: resampling adds its own noise to every bin's gap, always upwards."""
    if found.replicates is None or found.value is None:
        return found
    moved = np.maximum(found.replicates - np.nanmean(found.replicates) + found.value, 0)
    return replace(found, replicates=moved)


def sigmoid(x: Floats) -> Floats:
    """Logistic function of each, without a warning however far from 0 they are."""
    result = np.negative(x)
    with np.errstate(over="ignore", under="ignore"):
        np.exp(result, out=result)
        result += 1
        return np.divide(1.0, result, out=result)

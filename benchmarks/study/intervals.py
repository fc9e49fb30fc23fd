"""The one rule by which this study puts an interval around a number: Student's t over seeds.

A seed replicates everything, its prompts included, so that the numbers of different seeds are independent and their
spread holds every source of variance at once: training, discriminators, sampling, prompts. A difference between arms
is taken within each seed first, where both have the same start, rows, prompts and noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t  # type: ignore[import-untyped]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the ends of its interval."""

    estimate: float
    lower: float
    upper: float


def over_seeds(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """mean -+ t_{n-1} s / sqrt(n) (Student 1908) of one value a seed; n is at least 2."""
    centre = mean(values)
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return Interval(centre, centre - half, centre + half)

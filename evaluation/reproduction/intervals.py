"""The rules by which a study puts an interval around a number.

Over seeds, where there are two or more: Student's t. A seed replicates everything, its prompts included, so that the
numbers of different seeds are independent and their spread holds every source of variance at once: training,
discriminators, sampling, prompts. A difference between arms is taken within each seed first, where both have the same
start, rows, prompts and noise.

Over prompts: the bootstrap of ``evaluation.statistics``, for the very models that were trained. It cannot know how
much another training run would differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
from scipy.stats import t  # type: ignore[import-untyped]

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.interval import percentile_interval

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the ends of its interval."""

    estimate: float
    lower: float
    upper: float


def over_seeds(values: Sequence[float]) -> Interval:
    """mean -+ t_{n-1} s / sqrt(n) (Student 1908) of one value a seed; n is at least 2."""
    centre = mean(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return Interval(centre, centre - half, centre + half)


def over_prompts(values: Sequence[float], replicates: Sequence[Floats]) -> Interval | None:
    """Percentile interval of the mean over seeds of one value each and of its ``replicates`` (draws,) each.

    Prompts of different seeds are drawn apart, so that draws of one seed know nothing of another's. None where too
    many draws are undefined, and where no draw differs.
    """
    found = percentile_interval(np.mean(replicates, axis=0), CONFIDENCE, "plain")
    if found.lower is None or found.upper is None:
        return None
    return Interval(mean(values), found.lower, found.upper)

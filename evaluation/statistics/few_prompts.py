"""What so few prompts, or prompts so alike, can say.

A bootstrap draws from the prompts there are. Of very few it makes an interval as easily as of many, and of prompts that
are all alike one without width; neither is knowledge.

Where a coin decides which way each of P prompts points, they all point the same way with probability 2^(1 - P). No
interval of confidence c may tell chance from that before 2^(1 - P) <= 1 - c: six prompts at 95 %.

A mean over prompts that count equally, of numbers in [a, b] that are v in every prompt, has an exact interval. With q
the probability that a prompt has v, all of them have it with probability q^P, so values of q below (alpha / 2)^(1 / P)
are rejected, alpha = 1 - c, and the others leave the mean between q v + (1 - q) a and q v + (1 - q) b. For shares that
are all 1 its lower end is that of Clopper and Pearson (1934, Biometrika 26:404). It has none where prompts count by
their pairs: those that were not drawn may have most of them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats

_ROUNDING = 1e-12
"""Draws that differ by less than this share of themselves are the same."""

NOTHING_MOVES = "no bootstrap draw differs from the sample, so nothing says how sure it is"


def too_few_prompts(n_prompts: int, confidence: float, least: int = 0) -> str | None:
    """Why so many prompts make no interval; None where they are enough, and ``least`` at any confidence."""
    needed = max(least, 1 + math.ceil(-math.log2(1 - confidence)))
    return None if n_prompts >= needed else f"an interval at {100 * confidence:g} % needs {needed} prompts"


def nothing_moves(draws: Floats) -> bool:
    """Whether the defined ones of the ``draws`` (draws,), at least one, are all the same."""
    defined = draws[np.isfinite(draws)]
    return bool(defined.size and np.ptp(defined) <= _ROUNDING * np.abs(defined).max())


def equal_shares(counts: Floats | NDArray[np.int_]) -> bool:
    """Whether every prompt counts equally in a ratio of sums that is divided by the sum of ``counts`` (prompts,)."""
    return bool(counts.size and np.ptp(counts) == 0)


def unanimous_ends(value: float, bounds: tuple[float, float], n_prompts: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a mean of numbers within ``bounds`` that are ``value`` in every prompt."""
    least = ((1 - confidence) / 2) ** (1 / n_prompts)
    lower, upper = (least * value + (1 - least) * end for end in bounds)
    return lower, upper

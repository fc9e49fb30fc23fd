"""How well scores tell right from wrong, and how far their probabilities can be believed."""

import math
from collections.abc import Sequence

BINS = 10


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN where either is missing."""
    if not positive or not negative:
        return math.nan
    ordered = sorted([(score, True) for score in positive] + [(score, False) for score in negative])
    ranks: dict[float, float] = {}
    start = 0
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end][0] == ordered[start][0]:
            end += 1
        ranks[ordered[start][0]] = (start + 1 + end) / 2
        start = end
    above = sum(ranks[score] for score in positive) - len(positive) * (len(positive) + 1) / 2
    return above / (len(positive) * len(negative))


def calibration_error(probabilities: Sequence[float], outcomes: Sequence[bool]) -> float:
    """Expected calibration error over ten equal bins (Guo et al. 2017, arXiv 1706.04599, eq. 5); NaN for nothing."""
    if not probabilities:
        return math.nan
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for probability, outcome in zip(probabilities, outcomes, strict=True):
        bins[min(int(probability * BINS), BINS - 1)].append((probability, outcome))
    return sum(abs(sum(p for p, _ in each) - sum(o for _, o in each)) for each in bins) / len(probabilities)

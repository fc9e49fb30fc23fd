"""One temperature that turns scores, or their differences, into probabilities, fitted on held-out preferences."""

import math
from collections.abc import Sequence


def fit_temperature(margins: Sequence[float]) -> float | None:
    """T > 0 that maximises sum log sigmoid(margin / T) (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    A margin is chosen minus rejected or, of single judged responses, the logit's distance to the right side of zero.

    None where no finite T does: without margins, if none is negative (T would go to 0), or if the mean is not
    positive (T would go to infinity). The log-likelihood is concave in 1/T, so bisection on its slope finds it.
    """
    if not margins or min(margins) >= 0 or sum(margins) <= 0:
        return None

    def slope(inverse: float) -> float:
        return sum(margin / (1 + math.exp(min(inverse * margin, 700.0))) for margin in margins)

    low, high = 0.0, 1.0
    while slope(high) > 0:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return 2 / (low + high)


def sigmoid(x: float) -> float:
    """Logistic function that overflows on neither side."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))

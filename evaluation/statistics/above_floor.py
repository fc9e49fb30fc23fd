"""A mean on the scale where what is worth nothing has 0: some judges pass part of any garbage."""

from evaluation.statistics.estimate import Estimate

MEAN_ABOVE_FLOOR = "mean_above_floor"


def above_floor(mean: Estimate, floor: float) -> Estimate:
    """(m - f) / (1 - f) of a mean m whose values reach 1 at best and ``floor`` f for garbage; ends likewise.

    The floor counts as known. Undefined where the floor is 1, for then nothing is told apart.
    """
    if floor >= 1:
        missing = dict.fromkeys(("estimate", "lower", "upper", "standard_error"))
        reason = "garbage reaches 1, so nothing is above the floor"
        return mean.model_copy(update={**missing, "statistic": MEAN_ABOVE_FLOOR, "undefined_reason": reason})
    ends = {
        name: None if (value := getattr(mean, name)) is None else (value - floor) / (1 - floor)
        for name in ("estimate", "lower", "upper")
    }
    error = None if mean.standard_error is None else mean.standard_error / (1 - floor)
    method = f"{mean.method}; floor {floor:.4g}"
    return mean.model_copy(update={**ends, "standard_error": error, "statistic": MEAN_ABOVE_FLOOR, "method": method})

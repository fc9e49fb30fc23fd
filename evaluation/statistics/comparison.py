"""Differences of correlations between scorers on the same responses, with intervals that hold all at once.

Both correlations come from the same bootstrap draws on the rows where both scorers have a value, so what prompts do to
both cancels. Of several differences each interval is d +- q se, q being the c-quantile over draws of the largest
|d* - d| / se among them (single-step max-T, Westfall and Young 1993, chapter 2): all of them hold with probability c.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.statistics.bootstrap import BEYOND_RANGE, Interval, fisher_z
from evaluation.statistics.estimate import Comparison, Verdict
from evaluation.statistics.measured import ONE_PROMPT, Frame, Measured

DIFFERENCE = "pearson_within"
"""The statistic whose atanh is compared."""

_MOST_UNDEFINED_DRAWS = 0.1


def difference(a: Measured, b: Measured) -> Measured:
    """atanh r_a - atanh r_b from equal draws."""
    if a.value is None or b.value is None:
        reason = a.reason if a.value is None else b.reason
        return Measured(None, None, a.n_prompts, a.n_responses, reason)
    value = float(fisher_z(np.asarray(a.value)) - fisher_z(np.asarray(b.value)))
    if a.replicates is None or b.replicates is None:
        return Measured(value, None, a.n_prompts, a.n_responses, a.reason or b.reason or ONE_PROMPT)
    replicates = fisher_z(a.replicates) - fisher_z(b.replicates)
    return Measured(value, replicates, a.n_prompts, a.n_responses, None)


def simultaneous(differences: Sequence[Measured], confidence: float) -> list[Interval]:
    """An interval for each difference, such that all hold at once. Equal draws are expected of all."""
    known = [each for each in differences if each.replicates is not None and each.value is not None]
    if not known:
        return [Interval(None, None, None, each.reason) for each in differences]
    draws = np.stack([np.asarray(each.replicates) for each in known])
    complete = np.isfinite(draws).all(axis=0)
    lost = int((~complete).sum())
    if lost > _MOST_UNDEFINED_DRAWS * complete.size:
        reason = f"undefined in {lost} of {complete.size} bootstrap draws"
        return [Interval(None, None, None, each.reason or reason) for each in differences]
    draws = draws[:, complete]
    values = np.array([each.value for each in known], dtype=np.float64)[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        errors = draws.std(axis=1, ddof=1, keepdims=True)
        t = np.where(errors > 0, np.abs(draws - values) / errors, 0)
        half = np.quantile(t.max(axis=0), confidence) * errors[:, 0]
    found = iter(zip(values[:, 0], half, errors[:, 0], strict=True))
    return [
        _interval(*next(found))
        if each.replicates is not None and each.value is not None
        else Interval(None, None, None, each.reason)
        for each in differences
    ]


def compare(
    pairs: Mapping[tuple[str, str], tuple[Measured, Measured, int]], oracle: str, frame: Frame
) -> list[Comparison]:
    """Every pair of scorers, by name, with both correlations on their common rows and how many rows that leaves out."""
    differences = [difference(a, b) for a, b, _ in pairs.values()]
    intervals = simultaneous(differences, frame.confidence)
    several = f", max-T over {len(differences)} comparisons" if len(differences) > 1 else ""
    found = []
    for (a, b), (_, _, n_dropped), measured, interval in zip(
        pairs, pairs.values(), differences, intervals, strict=True
    ):
        numbers = frame.numbers(oracle, measured, n_dropped, interval) | {
            "method": f"difference of atanh r on common responses, {frame.method.split(', ')[0]}, "
            f"{100 * frame.confidence:g} % interval{several}",
        }
        found.append(
            Comparison(
                scorer_a=a, scorer_b=b, statistic=DIFFERENCE, verdict=verdict(interval.lower, interval.upper), **numbers
            )
        )
    return found


def verdict(lower: float | None, upper: float | None) -> Verdict:
    """What an interval of a difference says of the first against the second."""
    if lower is not None and lower > 0:
        return "better"
    return "worse" if upper is not None and upper < 0 else "not resolved"


def _interval(value: float, half: float, error: float) -> Interval:
    if not np.isfinite([value - half, value + half, error]).all():
        return Interval(None, None, None, BEYOND_RANGE)
    return Interval(float(value - half), float(value + half), float(error))

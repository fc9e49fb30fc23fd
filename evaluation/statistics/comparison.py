"""Differences of correlations between scorers on the same responses, with intervals that hold all at once.

Both correlations come from the same bootstrap draws on the rows where both scorers have a value, so what prompts do to
both cancels: a prompt's influence on the difference is the difference of its influences. The intervals of several
differences are studentised, and widened by the largest |t*| among them, so that all of them hold at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.estimate import Comparison, Verdict
from evaluation.statistics.few_prompts import too_few_prompts
from evaluation.statistics.interval import MOTIONLESS, Interval, Spread, fisher_z, simultaneous_intervals
from evaluation.statistics.measured import ONE_PROMPT, Frame, Measured

DIFFERENCE = "pearson_within"
"""The statistic whose atanh is compared."""


def difference(a: Measured, b: Measured) -> Measured:
    """atanh r_a - atanh r_b from equal draws."""
    if a.value is None or b.value is None:
        reason = a.reason if a.value is None else b.reason
        return Measured(None, None, a.n_prompts, a.n_responses, reason)
    value = float(_apart(np.asarray(a.value), np.asarray(b.value)))
    if a.replicates is None or b.replicates is None:
        return Measured(value, None, a.n_prompts, a.n_responses, a.reason or b.reason or ONE_PROMPT)
    replicates = _apart(a.replicates, b.replicates)
    return Measured(value, replicates, a.n_prompts, a.n_responses, None)


def simultaneous(differences: Sequence[Measured], confidence: float) -> list[Interval]:
    """An interval for each difference, such that all hold at once. Equal draws are expected of all.

    A difference without standard errors of its draws is divided by the draws' standard deviation in all of them, which
    makes its interval as symmetric as the others and no more than that.
    """
    few = [too_few_prompts(each.n_prompts, confidence) if each.value is not None else None for each in differences]
    spreads = [
        None if why is not None else each.spread("plain") or _equally_sure(each)
        for each, why in zip(differences, few, strict=True)
    ]
    known = [each for each in spreads if each is not None]
    found = iter(simultaneous_intervals(known, confidence) if known else [])
    intervals = []
    for each, spread, why in zip(differences, spreads, few, strict=True):
        interval = Interval(None, None, None, why or each.reason) if spread is None else next(found)
        intervals.append(interval if each.errors is not None else replace(interval, kind="symmetric"))
    return intervals


def compare(
    pairs: Mapping[tuple[str, str], tuple[Measured, int]],
    oracle: str,
    frame: Frame,
    *,
    where: str = "on common responses",
) -> list[Comparison]:
    """Every pair of scorers, by name, with their difference and how many rows are not in common."""
    differences = [each for each, _ in pairs.values()]
    intervals = simultaneous(differences, frame.confidence)
    n_intervals = sum(each.lower is not None for each in intervals)
    several = f", max-T over {n_intervals} comparisons" if n_intervals > 1 else ""
    found = []
    for ((a, b), (measured, n_dropped)), interval in zip(pairs.items(), intervals, strict=True):
        numbers = frame.numbers(oracle, measured, n_dropped, interval)
        numbers["method"] = f"difference of atanh r {where}, {numbers['method']}{several}"
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


def _apart(a: Floats, b: Floats) -> Floats:
    """atanh a - atanh b, 0 where that is rounding: a copy of a scorer is neither better nor worse."""
    difference = fisher_z(a) - fisher_z(b)
    return np.where(np.abs(difference) < MOTIONLESS, 0.0, difference)


def _equally_sure(found: Measured) -> Spread | None:
    if found.value is None or found.replicates is None:
        return None
    with np.errstate(all="ignore"):
        error = float(np.nanstd(found.replicates, ddof=1)) if np.isfinite(found.replicates).sum() > 1 else np.nan
    return Spread(found.value, found.replicates, error, np.full_like(found.replicates, error))

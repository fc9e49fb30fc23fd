"""Claims as data, and the one rule that gives each its word.

A claim says that a contrast, a weighted sum of quantities formed within each seed, is above or below a level or within
a margin of zero. ``reproduced``: the whole interval lies where the claim puts it; ``reversed``: all of it lies
elsewhere; ``not reproduced``: neither.
"""

from dataclasses import dataclass
from typing import Literal

from benchmarks.study.intervals import Interval, over_seeds
from benchmarks.study.measurements import Measurements, Quantity

Word = Literal["reproduced", "not reproduced", "reversed"]
Expected = Literal["above", "below", "within"]
Terms = tuple[tuple[float, Quantity], ...]


@dataclass(frozen=True)
class Claim:
    """A statement that the study tests."""

    key: str
    text: str
    place: str
    """Where the paper makes it; of a claim of this project, at which temperatures it is tested."""
    contrasts: dict[str, Terms]
    """By name of the rival. All must hold, so the one whose interval reaches lowest speaks for the claim."""
    expected: Expected = "above"
    level: float = 0.0
    """What the contrast is above or below, or how far from zero it may be."""


@dataclass(frozen=True)
class Finding:
    """What the seeds say of a claim. Without an interval there is a reason."""

    claim: Claim
    rival: str
    per_seed: tuple[float | None, ...]
    interval: Interval | None
    word: Word
    undefined_reason: str | None = None


def examine(claim: Claim, measurements: Measurements) -> Finding:
    """Test a claim on all seeds."""
    findings = [_examine(claim, rival, terms, measurements) for rival, terms in claim.contrasts.items()]
    return min(findings, key=lambda finding: float("-inf") if finding.interval is None else finding.interval.lower)


def judge(interval: Interval, expected: Expected, level: float) -> Word:
    """The word for an interval; see the module."""
    lower, upper = interval.lower, interval.upper
    holds, fails = {
        "above": (lower > level, upper < level),
        "below": (upper < level, lower > level),
        "within": (-level < lower and upper < level, lower > level or upper < -level),
    }[expected]
    return "reproduced" if holds else "reversed" if fails else "not reproduced"


def _examine(claim: Claim, rival: str, terms: Terms, measurements: Measurements) -> Finding:
    per_seed = tuple(_contrast(measurements, seed, terms) for seed in measurements.seeds)
    known = [value for value in per_seed if value is not None]
    if len(known) < len(per_seed):
        reason = f"undefined in {len(per_seed) - len(known)} of {len(per_seed)} seeds"
        return Finding(claim, rival, per_seed, None, "not reproduced", reason)
    interval = over_seeds(known)
    return Finding(claim, rival, per_seed, interval, judge(interval, claim.expected, claim.level))


def _contrast(measurements: Measurements, seed: int, terms: Terms) -> float | None:
    values = [(factor, measurements.of(seed, quantity)) for factor, quantity in terms]
    known = [factor * value for factor, value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def minus(better: Quantity, *rivals: Quantity) -> dict[str, Terms]:
    """Contrasts of one quantity with each of its rivals."""
    return {rival.subject: ((1.0, better), (-1.0, rival)) for rival in rivals}

"""Claims as data, and the one rule that gives each its word.

A claim says that a contrast, a weighted sum of quantities formed within each seed, is above or below a level or within
a margin of zero. ``reproduced``: the whole interval lies where the claim puts it; ``reversed``: all of it lies
elsewhere; ``not reproduced``: neither.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.reproduction.intervals import Interval, over_prompts, over_seeds
from evaluation.reproduction.measurements import Measurements, Quantity
from evaluation.statistics.bootstrap import Floats

Word = Literal["reproduced", "not reproduced", "reversed"]
Expected = Literal["above", "below", "within"]
Terms = tuple[tuple[float, Quantity], ...]


@dataclass(frozen=True)
class Claim:
    """A statement that a study tests."""

    key: str
    text: str
    place: str
    """Where the paper makes it; of a claim of this project, at which temperatures it is tested."""
    contrasts: dict[str, Terms]
    """By name of the rival. All must hold, so one that is reversed speaks for the claim, and among several of them, or
    where there is none, the one whose interval reaches furthest off.
    """
    expected: Expected = "above"
    level: float = 0.0
    """What the contrast is above or below, or how far from zero it may be."""
    paper: str = ""
    """The paper's own numbers."""
    unit: Literal["plain", "log"] = "plain"
    """``log``: the contrast is a difference of logarithms, which people read as a change in per cent."""


@dataclass(frozen=True)
class Finding:
    """What was found of a claim. Without an interval there is a reason."""

    claim: Claim
    rival: str
    per_seed: tuple[float | None, ...]
    interval: Interval | None
    """Over seeds; of a single seed, over its prompts. The word follows from it."""
    word: Word
    undefined_reason: str | None = None
    prompts: Interval | None = None
    """Over prompts alone, of the very models that were trained; None where no draws were made."""


def examine(claim: Claim, measurements: Measurements) -> Finding:
    """Test a claim on all seeds."""
    findings = [_examine(claim, rival, terms, measurements) for rival, terms in claim.contrasts.items()]
    return min(findings, key=lambda each: (each.word != "reversed", _room(each)))


def judge(interval: Interval, expected: Expected, level: float) -> Word:
    """The word for an interval; see the module."""
    lower, upper = interval.lower, interval.upper
    holds, fails = {
        "above": (lower > level, upper < level),
        "below": (upper < level, lower > level),
        "within": (-level < lower and upper < level, lower > level or upper < -level),
    }[expected]
    return "reproduced" if holds else "reversed" if fails else "not reproduced"


def _room(finding: Finding) -> float:
    """How far the interval's worst end is from breaking the claim; below 0 where it does."""
    if finding.interval is None:
        return float("-inf")
    lower, upper, level = finding.interval.lower, finding.interval.upper, finding.claim.level
    return {"above": lower - level, "below": level - upper, "within": level - max(-lower, upper)}[
        finding.claim.expected
    ]


def _examine(claim: Claim, rival: str, terms: Terms, measurements: Measurements) -> Finding:
    per_seed = tuple(_contrast(measurements, seed, terms) for seed in measurements.seeds)
    known = [value for value in per_seed if value is not None]
    if len(known) < len(per_seed):
        reason = f"undefined in {len(per_seed) - len(known)} of {len(per_seed)} seeds"
        return Finding(claim, rival, per_seed, None, "not reproduced", reason)
    drawn = [_drawn(measurements, seed, terms) for seed in measurements.seeds]
    replicates = [each for each in drawn if each is not None]
    prompts = over_prompts(known, replicates) if known and len(replicates) == len(known) else None
    interval = over_seeds(known) if len(known) > 1 else prompts
    if interval is None:
        return Finding(claim, rival, per_seed, None, "not reproduced", "one seed, and no interval over its prompts")
    word = judge(interval, claim.expected, claim.level)
    return Finding(claim, rival, per_seed, interval, word, prompts=prompts)


def _contrast(measurements: Measurements, seed: int, terms: Terms) -> float | None:
    values = [(factor, measurements.of(seed, quantity)) for factor, quantity in terms]
    known = [factor * value for factor, value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _drawn(measurements: Measurements, seed: int, terms: Terms) -> Floats | None:
    values = [(factor, measurements.replicates(seed, quantity)) for factor, quantity in terms]
    known = [factor * value for factor, value in values if value is not None]
    return np.asarray(np.sum(known, axis=0)) if len(known) == len(values) else None


def minus(better: Quantity, *rivals: Quantity) -> dict[str, Terms]:
    """Contrasts of one quantity with each of its rivals."""
    return {rival.subject: ((1.0, better), (-1.0, rival)) for rival in rivals}


def compare(better: str, *rivals: str, measure: str, at: tuple[float, ...] = ()) -> dict[str, Terms]:
    """Contrasts of one subject with each of its rivals in one measure, mean over ``at``."""
    return minus(Quantity(better, measure, at), *(Quantity(rival, measure, at) for rival in rivals))


def change(better: str, rival: str, measure: str, to: tuple[float, ...], since: tuple[float, ...]) -> dict[str, Terms]:
    """How much more ``better`` gains, or less loses, than ``rival`` between two ranges of temperature."""
    terms = ((1.0, better, to), (-1.0, better, since), (-1.0, rival, to), (1.0, rival, since))
    return {rival: tuple((factor, Quantity(subject, measure, at)) for factor, subject, at in terms)}

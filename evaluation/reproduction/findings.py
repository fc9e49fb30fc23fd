"""What a study found, in one structure for the terminal, the JSON file, the document and the figures."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evaluation.reproduction.claims import Claim, Finding, examine
from evaluation.reproduction.intervals import CONFIDENCE, Interval, over_prompts, over_seeds
from evaluation.reproduction.measurements import Measurements, Quantity


@dataclass(frozen=True)
class Measured:
    """One quantity in every seed, and its interval: over seeds, of a single one over its prompts."""

    per_seed: tuple[float | None, ...]
    interval: Interval | None

    @property
    def bare(self) -> float | None:
        """The number of a single seed that has no interval; None of all others."""
        return self.per_seed[0] if len(self.per_seed) == 1 and self.interval is None else None


@dataclass(frozen=True)
class Study:
    """All that was found."""

    size: Any
    """How much of everything was run, a dataclass."""
    seeds: tuple[int, ...]
    measured: dict[Quantity, Measured]
    paper: tuple[Finding, ...]
    ours: tuple[Finding, ...]

    def interval(self, subject: str, measure: str, *temperature: float) -> Interval | None:
        """Of one quantity, None where there is none."""
        found = self.measured.get(Quantity(subject, measure, temperature))
        return None if found is None else found.interval

    def lead(self, subject: str, over: str, measure: str, temperature: float) -> Interval | None:
        """How far ``subject`` is ahead, differences taken within seeds; None where some seed lacks either."""
        pair = [self.measured.get(Quantity(each, measure, (temperature,))) for each in (subject, over)]
        if pair[0] is None or pair[1] is None:
            return None
        sides = zip(pair[0].per_seed, pair[1].per_seed, strict=True)
        return _interval(None if ours is None or theirs is None else ours - theirs for ours, theirs in sides)

    def to_json(self, facts: dict[str, str]) -> dict[str, Any]:
        """Stable keys: ``facts, size, seeds, confidence, measurements, claims``."""
        return {
            "facts": facts,
            "size": asdict(self.size),
            "seeds": list(self.seeds),
            "confidence": CONFIDENCE,
            "measurements": [
                {
                    "subject": quantity.subject,
                    "measure": quantity.measure,
                    "temperature": quantity.temperatures[0] if quantity.temperatures else None,
                    **_numbers(found.interval),
                    "per_seed": list(found.per_seed),
                }
                for quantity, found in self.measured.items()
            ],
            "claims": [
                *(_claim_row(finding, "paper") for finding in self.paper),
                *(_claim_row(finding, "project") for finding in self.ours),
            ],
        }


def conclude(
    measurements: Measurements,
    size: Any,  # noqa: ANN401 - a plan's
    paper: Sequence[Claim],
    ours: Sequence[Claim],
) -> Study:
    """Put intervals around everything measured and a word to every claim."""
    return Study(
        size,
        tuple(measurements.seeds),
        {quantity: _measured(measurements, quantity) for quantity in measurements.quantities()},
        _examined(paper, measurements),
        _examined(ours, measurements),
    )


def _examined(claims: Iterable[Claim], measurements: Measurements) -> tuple[Finding, ...]:
    return tuple(examine(claim, measurements) for claim in claims)


def _measured(measurements: Measurements, quantity: Quantity) -> Measured:
    per_seed = tuple(measurements.of(seed, quantity) for seed in measurements.seeds)
    if len(per_seed) > 1 or per_seed[0] is None:
        return Measured(per_seed, _interval(per_seed))
    drawn = measurements.replicates(measurements.seeds[0], quantity)
    return Measured(per_seed, None if drawn is None else over_prompts([per_seed[0]], [drawn]))


def _interval(values: Iterable[float | None]) -> Interval | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return over_seeds(known) if len(known) == len(found) > 1 else None


def _claim_row(finding: Finding, source: str) -> dict[str, Any]:
    claim = finding.claim
    return {
        "key": claim.key,
        "source": source,
        "text": claim.text,
        "place": claim.place,
        "paper": claim.paper or None,
        "expected": claim.expected,
        "level": claim.level,
        "rival": finding.rival or None,
        "unit": claim.unit,
        **_numbers(finding.interval),
        "over_prompts": None if finding.prompts is None else _numbers(finding.prompts),
        "per_seed": list(finding.per_seed),
        "word": finding.word,
        "undefined_reason": finding.undefined_reason,
    }


def _numbers(interval: Interval | None) -> dict[str, float | None]:
    return {name: getattr(interval, name, None) for name in ("estimate", "lower", "upper")}

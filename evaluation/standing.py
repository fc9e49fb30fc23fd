"""How far a scorer can be trusted, short enough for a line of a table: up to which temperature, and beside what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.statistics.estimate import Estimate
from evaluation.verdict import rival_of
from evaluation.wording import Reading, listed, reading, temperatures_told

Tone = Literal["good", "part", "bad", "unknown"]


@dataclass(frozen=True)
class Step:
    """What an interval says at one temperature."""

    temperature: float
    reading: Reading


@dataclass(frozen=True)
class Standing:
    """One scorer by one oracle in one run."""

    words: str
    """``at every T``, ``wherever defined``, ``up to T = 1.25``, ``not shown``, ``the other way round``."""

    tone: Tone
    steps: list[Step]
    """Lowest temperature first, without those at which nothing is defined; empty where none was recorded."""

    controls: str
    """``ahead of all``, ``not ahead of length``, ``behind length``; empty where no control was measured beside it."""

    undefined: bool
    """Whether there is a temperature at which nothing can be said of it."""

    @property
    def holds(self) -> bool:
        """Whether it agrees with the oracle wherever that can be said."""
        return self.tone == "good"

    @property
    def beats_controls(self) -> bool:
        """Whether it is ahead of every trivial control wherever that can be said."""
        return self.controls == _AHEAD

    @property
    def told(self) -> str:
        """The steps in words."""
        names = {Reading.ABOVE: "agrees", Reading.UNRESOLVED: "not resolved", Reading.BELOW: "the other way round"}
        grid = [step.temperature for step in self.steps]
        by = {kind: [step.temperature for step in self.steps if step.reading is kind] for kind in names}
        return ", ".join(f"{names[kind]}{temperatures_told(found, grid)}" for kind, found in by.items() if found)


_AHEAD = "ahead of all"


def standing(path: Sequence[Estimate], leads: Sequence[Estimate]) -> Standing:
    """Read ``path``, r within prompts over temperature, and the ``leads`` over controls that order something."""
    known = sorted(
        (each for each in path if reading(each) is not Reading.UNDEFINED), key=lambda each: each.temperature or 0
    )
    undefined = len(known) < len(path)
    words, tone = _how_far(known, undefined=undefined)
    steps = [Step(each.temperature, reading(each)) for each in known if each.temperature is not None]
    return Standing(words, tone, steps, _beside(leads), undefined)


def _how_far(known: Sequence[Estimate], *, undefined: bool) -> tuple[str, Tone]:
    """An agreement ends at the lowest temperature where it is not shown, whatever comes above."""
    if not known:
        return "undefined", "unknown"
    readings = [reading(each) for each in known]
    breaks = next((place for place, each in enumerate(readings) if each is not Reading.ABOVE), None)
    if breaks is None:
        if known[0].temperature is None:
            return "agrees", "good"
        everywhere = "wherever defined" if undefined else "at every T"
        return (everywhere if len(known) > 1 else f"at T = {known[0].temperature:g}"), "good"
    if breaks:
        return f"up to T = {known[breaks - 1].temperature:g}", "part"
    return ("the other way round", "bad") if Reading.BELOW in readings else ("not shown", "unknown")


def _beside(leads: Sequence[Estimate]) -> str:
    by = {kind: list(dict.fromkeys(rival_of(each) for each in leads if reading(each) is kind)) for kind in Reading}
    if by[Reading.BELOW]:
        return f"behind {_few(by[Reading.BELOW])}"
    if by[Reading.UNRESOLVED]:
        return f"not ahead of {_few(by[Reading.UNRESOLVED])}"
    return _AHEAD if by[Reading.ABOVE] else ""


def _few(names: Sequence[str]) -> str:
    """A line's worth; the verdict on the run has them all."""
    return listed(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"

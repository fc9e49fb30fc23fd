"""What is known of a monitored scorer, as it is stored, answered and drawn."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from evaluation.statistics.drift import Bounded, Counted, Moved, least_size
from trainer.recipe import Model


class Agreed(Model):
    """What one audit said of the scorer against one oracle."""

    run: str
    at: datetime
    estimate: float | None
    lower: float | None
    upper: float | None
    n_prompts: int
    n_responses: int
    undefined_reason: str | None


class Trust(Model):
    """How far the scorer agrees with an oracle on what it is asked to score."""

    oracle: str
    statistic: str
    audits: list[Agreed]
    """The newest first; at most 30."""
    fresh_until: datetime | None = None
    """When two later audits will have been missed. None where an older version stored this."""
    stale: bool = False
    """Whether that time has come: nobody knows any more how far the scorer agrees."""

    @property
    def latest(self) -> Agreed:
        """What holds now."""
        return self.audits[0]

    def is_stale(self, now: datetime) -> bool:
        """Whether it says nothing of ``now``."""
        return self.fresh_until is not None and now >= self.fresh_until


class Drift(Model):
    """How far the latest scores are from the reference."""

    n_now: int
    n_prompts_now: int | None = None
    """None where an older version stored this."""
    n_reference: int
    score: Moved
    length: Moved
    """Of the response, in characters."""
    truncated: Bounded
    """Difference of the shares of prompts that had to be cut."""
    cut_now: Bounded | None = None
    """The share now. None where an older version stored this."""
    cut_reference: Bounded | None = None

    def sizes(self) -> dict[str, Bounded]:
        """Each measure's drift on a scale from 0 to 1: which share of the mass moved."""
        return {"score": self.score.distance, "length": self.length.distance, "truncated": self.truncated}

    def counted(self) -> dict[str, Counted]:
        """What is kept of it over time, with what each number was computed from."""
        found = {**self.sizes(), "score_shift": self.score.shift, "length_shift": self.length.shift}
        n = {"n_responses": self.n_now, "n_prompts": self.n_prompts_now or 0}
        return {name: Counted(**each.model_dump(), **n) for name, each in found.items()}

    def least(self) -> dict[str, float]:
        """Of each measure that has an interval, the least drift it holds."""
        found = {name: least_size(each) for name, each in self.sizes().items()}
        return {name: value for name, value in found.items() if value is not None}


class ScorerState(Model):
    """All of it."""

    scorer: str
    """``NAME@VERSION:OUTPUT``"""
    rows: int
    """Scores in the sample."""
    reference: str
    """What the latest scores are compared with, in words."""
    reference_kind: Literal["validation", "first_scores"] = "first_scores"
    """The scorer's own validation data or, where its artifact has none, the first scores kept."""
    drift: Drift | None
    """None until there are rows enough: 100 of the last day and, where they are the reference, the first 1,000."""
    trust: list[Trust]
    """By oracle; empty before the first audit."""

    @property
    def reference_name(self) -> str:
        """In the fewest words."""
        return "validation data" if self.reference_kind == "validation" else "the first kept"


def as_of(now: datetime, stored: Iterable[dict[str, Any]]) -> list[ScorerState]:
    """States as they are stored, read at ``now``: what was found goes stale by itself."""
    found = [ScorerState.model_validate(state) for state in stored]
    return [
        state.model_copy(
            update={"trust": [each.model_copy(update={"stale": each.is_stale(now)}) for each in state.trust]}
        )
        for state in found
    ]


class AlertRecord(Model):
    """A bound that was crossed, or audits that stopped."""

    id: str
    state: Literal["raised", "cleared"]
    kind: Literal["trust", "drift", "stale"]
    scorer: str
    subject: str
    """The oracle, the measure that drifted, or ``audits``."""
    lower: float
    """Lower end of the interval. Of ``stale`` how many whole periods have gone by without an audit."""
    threshold: float
    detail: str
    raised_at: datetime
    acknowledged_at: datetime | None
    """When somebody said that they have seen it."""
    cleared_at: datetime | None

"""On what terms somebody waits for scores: how urgent they are, until when they are of use, and whether to hold."""

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """Who goes first; see ``evaluation.engine.turns`` for how nobody waits for ever."""

    INTERACTIVE = 0
    TRAINER = 1
    OFFLINE = 2


@dataclass(frozen=True)
class Terms:
    """What a request for scores asks of the engine."""

    priority: Priority = Priority.OFFLINE
    within_seconds: float | None = None
    """After which nobody wants the scores any more: what was not begun by then fails instead of being computed."""
    hold_seconds: float = 0.0
    """How long to wait for room in a full line; refused at once where 0."""


OFFLINE = Terms()
INTERACTIVE = Terms(Priority.INTERACTIVE)
TRAINER = Terms(Priority.TRAINER, hold_seconds=150.0)
"""A trainer's client gives up after a few quick refusals, and its training step with it: better to let it wait."""

"""What waits for the device: a pair in tokens, and the scores of it that somebody wants."""

import math
from concurrent.futures import Future
from dataclasses import dataclass

from evaluation.engine.pairs import Scored
from evaluation.engine.residency import LoadedModel
from evaluation.engine.terms import Priority
from trainer.data.text import Encoded


@dataclass(frozen=True)
class Wish:
    """One score that somebody waits for."""

    model: LoadedModel
    output: str
    future: Future[Scored]

    @property
    def name(self) -> str:
        """``NAME@VERSION:OUTPUT``."""
        return f"{self.model.manifest.name}@{self.model.manifest.version}:{self.output}"


@dataclass(frozen=True)
class Ask:
    """One pair waiting to be scored, by every model that reads it as these very tokens."""

    encoded: Encoded
    wishes: tuple[Wish, ...]
    kin: int | None = None
    """The same for pairs whose prompt can be read once for all of them; None where there is no such thing."""
    priority: Priority = Priority.OFFLINE
    since: float = 0.0
    deadline: float = math.inf
    """When it was asked and until when it is of use, in seconds of ``time.monotonic``."""

    def cancelled(self) -> bool:
        """Whether nobody waits for it any more; whoever waits for cancelled futures is then told."""
        if not all(wish.future.cancelled() for wish in self.wishes):
            return False
        for wish in self.wishes:
            wish.future.set_running_or_notify_cancel()
        return True

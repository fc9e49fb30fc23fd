"""The contract of oracles: settings in a recipe that open into a scorer whose word is trusted."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evaluation.engine.scoring import ScoringEngine
from evaluation.scorers.scorer import Scorer
from trainer.data.text import Prompt
from trainer.recipe import Model


@dataclass(frozen=True)
class Asked:
    """A prompt of the run, for an oracle to say beforehand whether it can judge its answers."""

    prompt_id: str
    prompt: Prompt
    task: dict[str, Any] | None


class Oracle(Model, ABC):
    """Subclasses add a literal ``kind`` and their settings."""

    asks_a_server: ClassVar[bool] = False
    """Whether it waits for a server elsewhere instead of computing."""

    def artifacts(self) -> tuple[str, ...]:
        """Names of the artifacts it needs, for the run to pin their versions."""
        return ()

    @abstractmethod
    def open(self, engine: ScoringEngine, prompts: Sequence[Asked], pinned: dict[str, str], directory: Path) -> Scorer:
        """Make ready, before anything is sampled. ``pinned`` maps what ``artifacts`` named to ``NAME@VERSION``.

        ``directory`` is the run's, where it may keep what a run that continues has to know.

        Raises InvalidInput or NotFound where it could not judge answers to these prompts.
        """

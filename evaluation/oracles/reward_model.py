"""A registered scorer as an oracle, such as a much stronger reward model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from evaluation.engine.scoring import ScoringEngine
from evaluation.oracles.oracle import Asked, Oracle
from evaluation.scorers.registered import RegisteredScorers
from trainer.outside import RegisteredScorer


class RewardModelOracle(Oracle):
    """Trusts a scorer's scores."""

    kind: Literal["reward_model"] = "reward_model"
    path: RegisteredScorer
    """A scorer's name, ``NAME[@VERSION][:OUTPUT]``."""

    def artifacts(self) -> tuple[str, ...]:
        return (self.path,)

    def open(
        self, engine: ScoringEngine, prompts: Sequence[Asked], pinned: dict[str, str], directory: Path
    ) -> RegisteredScorers:
        return RegisteredScorers(engine, [(pinned[self.path], "oracle")])

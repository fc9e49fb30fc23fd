"""Discriminators that nobody trained, beside each that somebody did: what an architecture alone achieves."""

from collections.abc import Sequence

from evaluation.engine.names import ScorerName
from evaluation.engine.scoring import ScoringEngine
from evaluation.scorers.scorer import Role


def with_untrained(engine: ScoringEngine, names: Sequence[str]) -> list[tuple[str, Role]]:
    """The scorers ``names`` and, as controls, the untrained twins of every discriminator among them.

    The twins read the same features in the same pass. Raises InvalidInput or NotFound for a name that is no scorer.
    """
    controls = dict.fromkeys(
        f"{ScorerName.parse(name).reference}:{control}" for name in names for control in engine.describe(name).controls
    )
    return [*((name, "scorer") for name in names), *((name, "control") for name in controls if name not in names)]

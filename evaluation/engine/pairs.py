"""What goes into the scoring engine and what comes out."""

from dataclasses import dataclass

from trainer.data.rows import Pair
from trainer.manifest import ArtifactKind, Contrast, Parent

__all__ = ["Pair", "Scored", "ScorerInfo"]


@dataclass(frozen=True)
class Scored:
    """What a scorer says of one pair. Always finite: a failure is an error, never a number."""

    score: float
    probability: float | None
    """The score on [0, 1] where the artifact says how to get there; see ``evaluation.engine.probability``."""
    tokens: int
    """Prompt and response in the scorer's own tokens, as the model read them."""
    truncated_tokens: int
    """How many of the prompt's oldest tokens were dropped to fit the window, where that was allowed."""


@dataclass(frozen=True)
class ScorerInfo:
    """One artifact as a scorer, from its manifest alone: nothing is loaded to say this."""

    name: str
    version: int
    alias: str | None
    """The alias it was asked for by, if it was."""
    kind: ArtifactKind
    outputs: tuple[str, ...]
    """The scores it gives; the first is meant where none is named."""
    controls: tuple[str, ...]
    """Further scores, of use only to compare with."""
    orientation: str
    template_hash: str
    max_tokens: int
    calibration: dict[str, float] | None
    pointwise: bool
    """Whether a score has a probability of its own; see ``evaluation.engine.probability``."""
    contrasts: tuple[Contrast, ...]
    """What two scores may be of for their difference to mean something."""
    prefer: str | None
    """The artifact to score with in place of this one, where it was made beside one that is for that."""
    parents: tuple[Parent, ...]
    loaded: bool

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

"""The scoring engine: any number of callers, one owner thread, scores that depend on the pair alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import torch

from evaluation.engine.pairs import Pair, Scored, ScorerInfo
from trainer.artifacts import ArtifactStore
from trainer.data.text import OnOverlong
from trainer.errors import AssayError

__all__ = ["Pair", "Scored", "ScorerInfo", "ScoringEngine"]


class ScoringEngine:
    """Scores pairs with any artifact of a store, loading models as they are asked for.

    A scorer is named ``NAME[@VERSION][:OUTPUT]``: the highest version and the first output unless said. Every method
    may be called from any thread, and blocks; from an event loop call it through a thread.
    """

    def __init__(
        self,
        store: ArtifactStore,
        device: torch.device | None = None,
        *,
        resolve_alias: Callable[[str], str | None] | None = None,
        token_budget: int | None = None,
        max_waiting_pairs: int = 8192,
        max_bytes: int | None = None,
    ) -> None:
        """``resolve_alias`` maps an alias (all before the ``:``) to ``NAME@VERSION``, and anything else to None.

        ``token_budget`` is the padded size of a batch in tokens; ``max_waiting_pairs`` bounds the queue;
        ``max_bytes`` is the memory for weights, beyond which the longest unused models are unloaded.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(self, scorer: str, pairs: Sequence[Pair], on_overlong: OnOverlong = "error") -> list[Scored | AssayError]:
        """Score ``pairs`` in order; a pair that cannot be scored gives its error and harms no other.

        Raises InvalidInput, NotFound or BrokenArtifact for the scorer itself, Overloaded where the queue is full.
        """
        raise NotImplementedError

    def submit(self, scorer: str, pairs: Sequence[Pair], on_overlong: OnOverlong = "error") -> list[Future[Scored]]:
        """Like ``score``, without waiting for the scores; cancelling a future drops its work."""
        raise NotImplementedError

    def submit_each(
        self, scorers: Sequence[str], pairs: Sequence[Pair], on_overlong: OnOverlong = "error"
    ) -> dict[str, list[Future[Scored]]]:
        """Futures by scorer. Outputs of the same artifact share tokenisation and forward pass."""
        raise NotImplementedError

    def describe(self, scorer: str) -> ScorerInfo:
        """The artifact behind a scorer's name. Raises InvalidInput, NotFound or BrokenArtifact."""
        raise NotImplementedError

    def list(self) -> list[ScorerInfo]:
        """Every artifact of the store, by name and version."""
        raise NotImplementedError

    def load(self, scorer: str, *, pin: bool = True) -> ScorerInfo:
        """Load now; a pinned model stays until ``unload``. Raises BrokenArtifact where the artifact refuses."""
        raise NotImplementedError

    def unload(self, scorer: str) -> None:
        """Free a model's memory after the scores already asked of it. Raises NotFound if it is not loaded."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop the owner thread; what still waits fails with an error."""
        raise NotImplementedError

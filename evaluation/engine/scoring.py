"""The scoring engine: any number of callers, one owner thread, scores that depend on the pair alone."""

import builtins
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import torch

from evaluation.engine.asks import Ask, Wish
from evaluation.engine.batching import identity, kin
from evaluation.engine.catalogue import scorer_info
from evaluation.engine.line import Place, WaitingLine
from evaluation.engine.meter import Counts, EngineMeter, Waiting
from evaluation.engine.names import ScorerName
from evaluation.engine.owner import DeviceOwner
from evaluation.engine.pairs import Pair, Scored, ScorerInfo
from evaluation.engine.residency import LoadedModel, Residency
from evaluation.engine.terms import OFFLINE, Terms
from trainer.artifacts import ArtifactStore
from trainer.data.text import Encoded, OnOverlong
from trainer.errors import AssayError, Overloaded
from trainer.manifest import Artifact

__all__ = ["Pair", "Scored", "ScorerInfo", "ScoringEngine"]

_CPU_TOKENS = 1024
"""Tokens of a batch, and of its padding if it has any, on a CPU, where larger ones leave the cache."""
_GPU_TOKENS = 65536
_WINDOW_SECONDS = 0.003
"""How long the first that waits does so for others that are being tokenised."""


@dataclass(frozen=True)
class OpenScorer:
    """A scorer in memory, which it does not leave while somebody holds this."""

    info: ScorerInfo
    model: LoadedModel
    output: str


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
        deterministic: bool = False,
        meter: EngineMeter | None = None,
    ) -> None:
        """``resolve_alias`` maps an alias (all before the ``:``) to ``NAME@VERSION``, and anything else to None.

        ``token_budget`` is the size of a batch in tokens; ``max_waiting_pairs`` bounds the queue;
        ``max_bytes`` is the memory for weights, beyond which the longest unused models are unloaded.
        ``deterministic`` reads every pair alone, so that its score is the same bits whatever else is asked, at the
        price of speed. ``meter`` hears what happens.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        budget = token_budget or (_CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS)
        self._store = store
        self._resolve_alias = resolve_alias or (lambda _: None)
        self._line = WaitingLine(max_waiting_pairs)
        self.meter = meter or Counts()
        self._owner = DeviceOwner(self._line, budget, _WINDOW_SECONDS, deterministic=deterministic, meter=self.meter)
        self._models = Residency(store, device, self._owner.call, max_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(
        self, scorer: str, pairs: Sequence[Pair], on_overlong: OnOverlong = "error", terms: Terms = OFFLINE
    ) -> builtins.list[Scored | AssayError]:
        """Score ``pairs`` in order; a pair that cannot be scored gives its error and harms no other.

        Raises InvalidInput, NotFound or BrokenArtifact for the scorer itself, Overloaded where the queue is full.
        """
        return [outcome(future) for future in self.submit(scorer, pairs, on_overlong, terms)]

    def submit(
        self, scorer: str, pairs: Sequence[Pair], on_overlong: OnOverlong = "error", terms: Terms = OFFLINE
    ) -> builtins.list[Future[Scored]]:
        """Like ``score``, without waiting for the scores; cancelling a future drops its work."""
        return self.submit_each([scorer], pairs, on_overlong, terms)[scorer]

    def reserve(self, scorers: Sequence[str], pairs: int, terms: Terms) -> Place:
        """Room for a request, for ``submit_each`` to use; ``place.granted`` says when there is some.

        Raises Overloaded where there is none and ``terms`` do not hold.
        """
        artifacts = {scorer.partition(":")[0] for scorer in scorers}
        return self._line.reserve(pairs * len(artifacts), terms.hold_seconds)

    def submit_each(
        self,
        scorers: Sequence[str],
        pairs: Sequence[Pair],
        on_overlong: OnOverlong = "error",
        terms: Terms = OFFLINE,
    ) -> dict[str, builtins.list[Future[Scored]]]:
        """Futures by scorer. Outputs of the same artifact share tokenisation and forward pass, and
        artifacts on the same backbone its forward pass.

        Either all scorers exist and all pairs are admitted, or nothing is submitted and this raises as ``score``.
        Waits for room where ``terms`` hold.
        """
        place = self.reserve(scorers, len(pairs), terms)
        try:
            place.granted.result()
            opened = [self.open(scorer) for scorer in scorers]
        except BaseException:
            place.leave()
            raise
        return dict(zip(scorers, self.submit_opened(opened, pairs, on_overlong, terms, place), strict=True))

    def submit_opened(
        self,
        scorers: Sequence[OpenScorer],
        pairs: Sequence[Pair],
        on_overlong: OnOverlong,
        terms: Terms,
        place: Place,
    ) -> builtins.list[builtins.list[Future[Scored]]]:
        """As ``submit_each`` of scorers that are in memory: futures by scorer, in their order. ``place`` was granted,
        and is used or left."""
        since = time.monotonic()
        deadline = math.inf if terms.within_seconds is None else since + terms.within_seconds
        # who is asked twice, by its version and by an alias, answers once
        futures: dict[tuple[LoadedModel, str], list[Future[Scored]]] = {}
        for scorer in scorers:
            futures.setdefault((scorer.model, scorer.output), [Future() for _ in pairs])
        asks: list[Ask] = []
        try:
            for i, pair in enumerate(pairs):
                if place.left:  # nobody waits any more for what would still be tokenised
                    raise Overloaded("the request was given up")
                wishes = [Wish(model, output, found[i]) for (model, output), found in futures.items()]
                for encoded, readers in self._encode(pair, on_overlong, wishes):
                    related = kin(encoded, [wish.model for wish in readers])
                    asks.append(Ask(encoded, tuple(readers), related, terms.priority, since, deadline))
        except BaseException:
            place.leave()
            raise
        if not self._line.join(place, asks):
            raise Overloaded("the scoring engine was shut down; try again")
        return [futures[scorer.model, scorer.output] for scorer in scorers]

    @property
    def waiting(self) -> Waiting:
        """The line at this moment."""
        return Waiting(self._line.pairs, self._line.held_pairs, self._line.oldest_seconds)

    def describe(self, scorer: str) -> ScorerInfo:
        """The artifact behind a scorer's name. Raises InvalidInput, NotFound or BrokenArtifact."""
        return self._described(scorer)[2]

    def list(self) -> builtins.list[ScorerInfo]:
        """Every artifact of the store, by name and version."""
        return [scorer_info(artifact, loaded=self._models.has(artifact)) for artifact in self._store.all()]

    def find(self, scorer: str) -> OpenScorer | None:
        """A scorer that is in memory, which counts as use; None where it is not. Raises as ``describe``."""
        name, artifact, info = self._described(scorer)
        output = name.output or info.outputs[0]
        loaded = self._models.find(artifact, output)
        return None if loaded is None else OpenScorer(replace(info, loaded=True), loaded, output)

    def open(self, scorer: str, *, pin: bool = False) -> OpenScorer:
        """A scorer, loaded unless it is: see ``Residency.load`` for what is raised besides that of ``describe``."""
        name, artifact, info = self._described(scorer)
        output = name.output or info.outputs[0]
        loaded = self._models.find(artifact, output, pin=pin)
        if loaded is None:
            self._store.bring(artifact)  # on the caller's thread: nobody waits for downloads
            loaded = self._models.load(artifact, output, pin=pin)
        return OpenScorer(replace(info, loaded=True), loaded, output)

    def load(self, scorer: str, *, pin: bool = True) -> ScorerInfo:
        """Load now, as ``open``; a pinned model stays until ``unload``."""
        return self.open(scorer, pin=pin).info

    def unpin(self, reference: str) -> None:
        """Let ``NAME@VERSION``, which may be deleted, leave when room is needed."""
        self._models.unpin(reference)

    def drop_deleted(self) -> None:
        """Free the memory of versions that were deleted, pinned or not, after the scores already asked of them."""
        self._models.drop_deleted()

    def unload(self, scorer: str) -> None:
        """Free a model's memory after the scores already asked of it. Raises NotFound if it is not loaded."""
        artifact, _ = self._open(ScorerName.parse(scorer))
        self._models.unload(artifact)

    def stop_admitting(self) -> None:
        """Refuse whoever comes or holds for room; what was admitted goes on."""
        self._line.stop_admitting()

    def close(self) -> None:
        """Stop the owner thread; what still waits fails with Overloaded."""
        self._owner.close()

    def _described(self, scorer: str) -> tuple[ScorerName, Artifact, ScorerInfo]:
        name = ScorerName.parse(scorer)
        artifact, alias = self._open(name)
        info = scorer_info(artifact, loaded=self._models.has(artifact), alias=alias)
        name.meant(info.outputs, info.controls)
        return name, artifact, info

    def _encode(
        self, pair: Pair, on_overlong: OnOverlong, wishes: Sequence[Wish]
    ) -> builtins.list[tuple[Encoded, builtins.list[Wish]]]:
        """Tokenise on the caller's thread, once for all models that read the same tokens.

        A model that cannot tokenise the pair fails its own futures here.
        """
        read: dict[LoadedModel, Encoded | AssayError] = {}
        found: dict[tuple[int, ...], tuple[Encoded, list[Wish]]] = {}
        for wish in wishes:
            if wish.model not in read:
                read[wish.model] = _tokenise(wish.model, pair, on_overlong)
            encoded = read[wish.model]
            if isinstance(encoded, AssayError):
                self.meter.failed(wish.name, encoded.code)
                wish.future.set_exception(encoded)
            else:
                found.setdefault(identity(encoded), (encoded, []))[1].append(wish)
        return list(found.values())

    def _open(self, name: ScorerName) -> tuple[Artifact, str | None]:
        aliased = self._resolve_alias(name.reference)
        if aliased is None:
            return self._store.open(name.reference), None
        return self._store.open(aliased), name.reference


def outcome(future: Future[Scored]) -> Scored | AssayError:
    """Wait for a pair's score, or the error it has instead."""
    try:
        return future.result()
    except AssayError as error:
        return error


def _tokenise(loaded: LoadedModel, pair: Pair, on_overlong: OnOverlong) -> Encoded | AssayError:
    try:
        with loaded.encoding:
            return loaded.model.encode(pair.prompt, pair.response, on_overlong)
    except AssayError as error:
        return error

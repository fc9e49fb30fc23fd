"""The scoring engine: any number of callers, one owner thread, scores that depend on the pair alone."""

import builtins
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import torch

from evaluation.engine.batching import identity, kin
from evaluation.engine.catalogue import controls_of, scorer_info
from evaluation.engine.line import Ask, Place, WaitingLine, Wish
from evaluation.engine.meter import Counts, EngineMeter, Waiting
from evaluation.engine.names import ScorerName
from evaluation.engine.owner import DeviceOwner
from evaluation.engine.pairs import Pair, Scored, ScorerInfo
from evaluation.engine.residency import LoadedModel, Residency
from evaluation.engine.terms import OFFLINE, Terms
from trainer.artifacts import Artifact, ArtifactStore
from trainer.data.text import Encoded, OnOverlong
from trainer.errors import AssayError, Overloaded

__all__ = ["Pair", "Scored", "ScorerInfo", "ScoringEngine"]

_CPU_TOKENS = 1024
"""Tokens of a batch, and of its padding if it has any, on a CPU, where larger ones leave the cache."""
_GPU_TOKENS = 65536


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
        window_seconds: float = 0.003,
        max_bytes: int | None = None,
        deterministic: bool = False,
        meter: EngineMeter | None = None,
    ) -> None:
        """``resolve_alias`` maps an alias (all before the ``:``) to ``NAME@VERSION``, and anything else to None.

        ``token_budget`` is the size of a batch in tokens; ``max_waiting_pairs`` bounds the queue;
        ``window_seconds`` is how long the first waits for others being tokenised; ``max_bytes`` is the memory for
        weights, beyond which the longest unused models are unloaded. ``deterministic`` reads every pair alone, so that
        its score is the same bits whatever else is asked, at the price of speed. ``meter`` hears what happens.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        budget = token_budget or (_CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS)
        self._store = store
        self._resolve_alias = resolve_alias or (lambda _: None)
        self._models = Residency(store, device, max_bytes)
        self._line = WaitingLine(max_waiting_pairs)
        self.meter = meter or Counts()
        self._owner = DeviceOwner(self._line, budget, window_seconds, deterministic=deterministic, meter=self.meter)

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
        place: Place | None = None,
    ) -> dict[str, builtins.list[Future[Scored]]]:
        """Futures by scorer. Outputs of the same artifact share tokenisation and forward pass, and
        artifacts on the same backbone its forward pass.

        Either all scorers exist and all pairs are admitted, or nothing is submitted and this raises as ``score``.
        Waits for room where ``terms`` hold, unless a granted ``place`` is given, which is used or left.
        """
        since = time.monotonic()
        place = place or self.reserve(scorers, len(pairs), terms)
        try:
            place.granted.result()
            columns = self._columns(scorers)
            futures: dict[str, list[Future[Scored]]] = {scorer: [Future() for _ in pairs] for scorer in scorers}
            deadline = math.inf if terms.within_seconds is None else since + terms.within_seconds
            asks: list[Ask] = []
            for i, pair in enumerate(pairs):
                if place.left:  # nobody waits any more for what would still be tokenised
                    raise Overloaded("the request was given up")
                wishes = [
                    Wish(loaded, output, futures[scorer][i])
                    for loaded, wanted in columns.items()
                    for scorer, output in wanted.items()
                ]
                for encoded, readers in self._encode(pair, on_overlong, wishes):
                    related = kin(encoded, [wish.model for wish in readers])
                    asks.append(Ask(encoded, tuple(readers), related, terms.priority, since, deadline))
        except BaseException:
            place.leave()
            raise
        if not self._line.join(place, asks):
            raise Overloaded("the scoring engine was shut down; try again")
        return futures

    @property
    def waiting(self) -> Waiting:
        """The line at this moment."""
        return Waiting(self._line.pairs, self._line.held_pairs, self._line.oldest_seconds)

    def describe(self, scorer: str) -> ScorerInfo:
        """The artifact behind a scorer's name. Raises InvalidInput, NotFound or BrokenArtifact."""
        name = ScorerName.parse(scorer)
        return self._described(name, *self._open(name))

    def list(self) -> builtins.list[ScorerInfo]:
        """Every artifact of the store, by name and version."""
        return [scorer_info(artifact, loaded=self._models.has(artifact)) for artifact in self._store.all()]

    def load(self, scorer: str, *, pin: bool = True) -> ScorerInfo:
        """Load now; a pinned model stays until ``unload``. Raises BrokenArtifact where the artifact refuses."""
        name = ScorerName.parse(scorer)
        artifact, alias = self._open(name)
        if pin:
            self._models.pin(artifact)
        self._loaded(artifact)
        return self._described(name, artifact, alias)

    def unpin(self, scorer: str) -> None:
        """Let a model that was pinned leave when room is needed. Raises NotFound where there is no such artifact."""
        artifact, _ = self._open(ScorerName.parse(scorer))
        self._models.unpin(artifact)

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

    def _described(self, name: ScorerName, artifact: Artifact, alias: str | None) -> ScorerInfo:
        info = scorer_info(artifact, loaded=self._models.has(artifact), alias=alias)
        name.meant(info.outputs, info.controls)
        return info

    def _columns(self, scorers: Sequence[str]) -> dict[LoadedModel, dict[str, str]]:
        """The output that each scorer means, by the model that gives it."""
        columns: dict[LoadedModel, dict[str, str]] = {}
        for scorer in scorers:
            name = ScorerName.parse(scorer)
            loaded = self._loaded(self._open(name)[0])
            columns.setdefault(loaded, {})[scorer] = name.meant(loaded.model.outputs, controls_of(loaded.manifest))
        return columns

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

    def _loaded(self, artifact: Artifact) -> LoadedModel:
        found = self._models.find(artifact)
        if found is None:
            self._store.bring(artifact)  # on the caller's thread: the device does not wait for downloads
            found = self._owner.call(lambda: self._models.load(artifact))
        return found


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

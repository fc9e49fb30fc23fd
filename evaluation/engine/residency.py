"""Which models are in memory: loaded on demand, the longest unused one leaving first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import torch

from trainer.artifacts import Artifact, ArtifactStore, Manifest
from trainer.errors import NotFound
from trainer.models.pair_model import PairModel


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory. Who holds one may finish with it even after it was unloaded."""

    manifest: Manifest
    model: PairModel
    encoding: threading.Lock = field(default_factory=threading.Lock)
    """Held while tokenising: fast tokenizers are not safe to share between threads."""


class Residency:
    """The loaded models of one device, keyed by the digest of what was loaded rather than by a reusable name."""

    def __init__(self, store: ArtifactStore, device: torch.device, max_bytes: int | None) -> None:
        self._store = store
        self._device = device
        self._max_bytes = max_bytes
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._pinned: set[str] = set()
        self._lock = threading.Lock()

    def find(self, artifact: Artifact) -> LoadedModel | None:
        """The loaded model, now the most recently used; None if it is not loaded."""
        with self._lock:
            loaded = self._models.get(artifact.digest)
            if loaded is not None:
                self._models.move_to_end(artifact.digest)
            return loaded

    def has(self, artifact: Artifact) -> bool:
        """Whether the model is loaded; asking does not count as use."""
        with self._lock:
            return artifact.digest in self._models

    def load(self, artifact: Artifact) -> LoadedModel:
        """Load unless loaded, making room first. Call from the owner thread. Raises BrokenArtifact."""
        from trainer.models.loading import load_pair_model

        found = self.find(artifact)
        if found is not None:
            return found
        model = load_pair_model(artifact, self._store, self._device)
        loaded = LoadedModel(artifact.manifest, model)
        with self._lock:
            self._models[artifact.digest] = loaded
            self._make_room(keep=artifact.digest)
        return loaded

    def pin(self, artifact: Artifact) -> None:
        """Keep the model until ``unload``, whatever else is asked for."""
        with self._lock:
            self._pinned.add(artifact.digest)

    def unload(self, artifact: Artifact) -> None:
        """Forget the model; its memory is free once nobody works with it. Raises NotFound if it is not loaded."""
        with self._lock:
            self._pinned.discard(artifact.digest)
            if self._models.pop(artifact.digest, None) is None:
                raise NotFound(f"{artifact.reference} is not loaded")

    def _make_room(self, keep: str) -> None:
        if self._max_bytes is None:
            return
        used = sum(loaded.model.bytes() for loaded in self._models.values())
        for digest in [d for d in self._models if d not in self._pinned and d != keep]:
            if used <= self._max_bytes:
                return
            used -= self._models.pop(digest).model.bytes()

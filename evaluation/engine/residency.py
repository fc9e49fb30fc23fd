"""Which models are in memory: loaded on demand, the longest unused one leaving first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from trainer.artifacts import Artifact, ArtifactStore, Manifest
from trainer.errors import NotFound
from trainer.models.pair_model import PairModel
from trainer.models.quantised import is_quantised

if TYPE_CHECKING:
    from trainer.models.loading import Policies


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory. Who holds one may finish with it even after it was unloaded."""

    manifest: Manifest
    model: PairModel
    encoding: threading.Lock = field(default_factory=threading.Lock)
    """Held while tokenising: fast tokenizers are not safe to share between threads. One lock for each tokenizer."""

    @property
    def reads_alone(self) -> bool:
        """Whether it makes a pass of every pair, so that batches save nothing."""
        return is_quantised(self.manifest)


class Residency:
    """The loaded models of one device, keyed by the digest of what was loaded rather than by a reusable name."""

    def __init__(self, store: ArtifactStore, device: torch.device, max_bytes: int | None) -> None:
        self._store = store
        self._device = device
        self._max_bytes = max_bytes
        self._policies: Policies | None = None
        self._encoding: WeakKeyDictionary[object, threading.Lock] = WeakKeyDictionary()
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
        from trainer.models.loading import Policies, load_pair_model

        found = self.find(artifact)
        if found is not None:
            return found
        self._policies = self._policies or Policies(self._store, self._device)
        model = load_pair_model(artifact, self._store, self._device, self._policies)
        _ = model.longest_shared, model.longest_packed  # tried here, where the device is ours
        encoding = self._encoding.setdefault(model.tokenizer, threading.Lock())
        loaded = LoadedModel(artifact.manifest, model, encoding)
        with self._lock:
            self._models[artifact.digest] = loaded
            self._make_room(keep=artifact.digest)
        return loaded

    def pin(self, artifact: Artifact) -> None:
        """Keep the model until ``unload``, whatever else is asked for."""
        with self._lock:
            self._pinned.add(artifact.digest)

    def unpin(self, artifact: Artifact) -> None:
        """No longer keep it; it leaves when room is needed."""
        with self._lock:
            self._pinned.discard(artifact.digest)

    def unload(self, artifact: Artifact) -> None:
        """Forget the model; its memory is free once nobody works with it. Raises NotFound if it is not loaded."""
        with self._lock:
            self._pinned.discard(artifact.digest)
            if self._models.pop(artifact.digest, None) is None:
                raise NotFound(f"{artifact.reference} is not loaded")

    def _make_room(self, keep: str) -> None:
        if self._max_bytes is None:
            return
        for digest in [d for d in self._models if d not in self._pinned and d != keep]:
            if self._bytes() <= self._max_bytes:
                return
            del self._models[digest]

    def _bytes(self) -> int:
        """Memory of all weights, those that models share counted once."""
        from trainer.models.policy import model_bytes

        held = {network for loaded in self._models.values() for network in loaded.model.networks_held()}
        return sum(model_bytes(network) for network in held)

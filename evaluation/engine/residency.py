"""Which models are in memory: loaded on demand, the longest unused one leaving first."""

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from evaluation.engine.shortage import is_out_of_memory
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, BrokenArtifact, NotFound, OutOfMemory, RunFailed, StorageFailure
from trainer.manifest import Artifact, Manifest
from trainer.models.outputs import ON_POLICY
from trainer.models.pair_model import PairModel, place
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
    ready: set[str] = field(default_factory=set)
    """Outputs for which all that it reads with is on the device."""

    @property
    def reads_alone(self) -> bool:
        """Whether it makes a pass of every pair, so that batches save nothing."""
        return is_quantised(self.manifest)


class Residency:
    """The loaded models of one device, keyed by the digest of what was loaded rather than by a reusable name."""

    def __init__(
        self,
        store: ArtifactStore,
        device: torch.device,
        on_device: Callable[[Callable[[], None]], None],
        max_bytes: int | None,
    ) -> None:
        """``on_device`` has the thread that owns the device do something, and waits for it."""
        self._store = store
        self._device = device
        self._on_device = on_device
        self._max_bytes = math.inf if max_bytes is None else max_bytes
        self._policies: Policies | None = None
        self._encoding: WeakKeyDictionary[object, threading.Lock] = WeakKeyDictionary()
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._pinned: set[str] = set()
        """Of those models."""
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    def find(self, artifact: Artifact, output: str, *, pin: bool = False) -> LoadedModel | None:
        """The loaded model, now the most recently used; None if it is not loaded or not ready for ``output``."""
        with self._lock:
            loaded = self._models.get(artifact.digest)
            if loaded is None or output not in loaded.ready:
                return None
            self._models.move_to_end(artifact.digest)
            if pin:
                self._pinned.add(artifact.digest)
            return loaded

    def has(self, artifact: Artifact) -> bool:
        """Whether the model is loaded; asking does not count as use."""
        with self._lock:
            return artifact.digest in self._models

    def load(self, artifact: Artifact, output: str, *, pin: bool = False) -> LoadedModel:
        """Load unless loaded, making room first; a pinned model stays until ``unload``, whatever else is asked for.

        Hashes and reads on the caller's thread, one model at a time, and has the owner thread do what needs the device.
        Where memory is short nevertheless, all that is not pinned leaves, and it is tried once more. Raises
        BrokenArtifact, Conflict, StorageFailure where a file cannot be read, OutOfMemory, RunFailed for what nobody
        expected, Overloaded where the owner ends.
        """
        with self._loading:
            found = self.find(artifact, output, pin=pin)
            if found is not None:
                return found
            for last in (False, True):
                try:
                    return self._load(artifact, output, pin)
                except AssayError:
                    raise
                except Exception as error:
                    failure = _as_expected(artifact, error)
                # behind the clause, which holds what the failed attempt had made
                if last or not isinstance(failure, OutOfMemory):
                    raise failure
                self._drop_all_but(artifact)
            raise AssertionError("the last attempt returns or raises")

    def unpin(self, reference: str) -> None:
        """No longer keep what was loaded as ``NAME@VERSION``, be it deleted; it leaves when room is needed."""
        with self._lock:
            self._pinned -= {digest for digest, loaded in self._models.items() if _reference(loaded) == reference}

    def unload(self, artifact: Artifact) -> None:
        """Forget the model; its memory is free once nobody works with it. Raises NotFound if it is not loaded."""
        with self._lock:
            if artifact.digest not in self._models:
                raise NotFound(f"{artifact.reference} is not loaded")
            self._drop(artifact.digest)

    def drop_deleted(self) -> None:
        """Forget the models whose version was deleted, pinned or not: nobody can ask for them any more."""
        with self._lock:
            held = {digest: _reference(loaded) for digest, loaded in self._models.items()}
        gone = [digest for digest, reference in held.items() if not self._is_there(reference, digest)]
        with self._lock:
            for digest in gone:
                self._drop(digest)

    def _load(self, artifact: Artifact, output: str, pin: bool) -> LoadedModel:
        from trainer.models.loading import Policies, check_probes, read_pair_model  # takes seconds

        self._policies = self._policies or Policies(self._store)
        with self._lock:
            loaded = self._models.get(artifact.digest)
        if loaded is None:
            artifact.verify()  # nobody leaves for what is broken
        self._make_room(artifact, output, self._policies)
        model = read_pair_model(artifact, self._policies, self._device) if loaded is None else loaded.model
        model.complete(output)

        def settle() -> None:
            place(model, self._device)
            if loaded is None:
                check_probes(model, artifact)
                _ = model.longest_shared, model.longest_packed  # tried here, where the device is ours

        self._on_device(settle)
        if loaded is None:
            encoding = self._encoding.setdefault(model.tokenizer, threading.Lock())
            loaded = LoadedModel(artifact.manifest, model, encoding)
        with self._lock:
            loaded.ready.update({output, *(each for each in model.outputs if not model.lacks(each))})
            self._models[artifact.digest] = loaded
            if pin:
                self._pinned.add(artifact.digest)
        return loaded

    def _make_room(self, artifact: Artifact, output: str, policies: "Policies") -> None:
        """Have the longest unused models leave until there is room for what is to be read, or nobody is left who may.

        Policies that are in memory and to be read with stay there, whoever leaves.
        """
        from trainer.models.weights import weight_bytes

        roles = ("reference", "policy") if output.startswith(ON_POLICY) else ("reference",)
        family = policies.family(artifact, roles)
        shared = [policy.model for each in family if (policy := policies.held(each)) is not None]
        unread = [each for each in family if policies.held(each) is None]
        with self._lock:
            needed = sum(weight_bytes(each.path) for each in unread if each.digest not in self._models)
            for digest in self._who_may_leave(artifact):
                if self._bytes(shared) + needed <= self._max_bytes:
                    return
                self._drop(digest)

    def _drop_all_but(self, keep: Artifact) -> None:
        with self._lock:
            for digest in self._who_may_leave(keep):
                self._drop(digest)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _who_may_leave(self, keep: Artifact) -> list[str]:
        """Longest unused first."""
        return [digest for digest in self._models if digest not in self._pinned and digest != keep.digest]

    def _drop(self, digest: str) -> None:
        self._models.pop(digest, None)
        self._pinned.discard(digest)

    def _is_there(self, reference: str, digest: str) -> bool:
        try:
            return self._store.open(reference).digest == digest
        except NotFound:
            return False
        except BrokenArtifact:  # it exists, in whatever state
            return True

    def _bytes(self, shared: Iterable[nn.Module]) -> int:
        """Memory of all weights and of those ``shared``, each counted once."""
        from trainer.models.policy import model_bytes

        held = {network for loaded in self._models.values() for network in loaded.model.networks_held()}
        return sum(model_bytes(network) for network in held.union(shared))


def _reference(loaded: LoadedModel) -> str:
    return f"{loaded.manifest.name}@{loaded.manifest.version}"


def _as_expected(artifact: Artifact, error: Exception) -> AssayError:
    """What whoever asked for the model is told."""
    if is_out_of_memory(error):
        return OutOfMemory(
            f"{artifact.reference} does not fit into memory beside what is pinned or in use; unload what is not needed"
        )
    if isinstance(error, OSError):
        return StorageFailure(f"{artifact.reference} cannot be read: {error.strerror or error}; look at the disk")
    logging.getLogger(__name__).error("%s cannot be loaded", artifact.reference, exc_info=error)
    return RunFailed(f"{artifact.reference} cannot be loaded ({type(error).__name__}); the server's log says why")

"""Models come into memory without holding up the others, and leave it for what is asked for now."""

import errno
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.engine import residency
from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from evaluation.engine.terms import OFFLINE
from trainer import manifest
from trainer.artifacts import ArtifactStore, Contents
from trainer.errors import AssayError, BrokenArtifact, NotFound, OutOfMemory, RunFailed, StorageFailure
from trainer.manifest import Artifact
from trainer.models import loading, policy, weights
from trainer.models.pair_model import PairModel
from trainer.models.policy import Policy, model_bytes

CPU = torch.device("cpu")
OWNER = "assay-device-owner"


@pytest.fixture
def own(store: ArtifactStore, tmp_path: Path) -> ArtifactStore:
    """A copy to change, with one more artifact: the same discriminators, made against ``policy@2``."""
    copy = ArtifactStore(tmp_path / "artifacts")
    shutil.copytree(store.root, copy.root)
    source = copy.open("policy/discriminator")
    fields = {name: getattr(source.manifest, name) for name in Contents.__dataclass_fields__}
    parents = [*source.manifest.parents, copy.open("policy@2").as_parent("policy")]
    copy.publish(
        "played",
        Contents(**{**fields, "parents": parents}),
        lambda path: [shutil.copy(source.path / name, path) for name in source.manifest.files] and None,
    )
    return copy


def references(engine: ScoringEngine) -> set[str]:
    return {info.reference for info in engine.list() if info.loaded}


@contextmanager
def slow(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[threading.Event]:
    """Within, calls of a function tell that they began and then wait until all is over."""
    began, go_on, whole = threading.Event(), threading.Event(), getattr(module, name)

    def waiting(*arguments: Any, **options: Any) -> Any:
        began.set()
        assert go_on.wait(60)
        return whole(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, waiting)
        try:
            yield began
        finally:
            go_on.set()


@pytest.mark.parametrize(
    ("module", "function"),
    [(manifest, "sha256_of"), (policy, "read_network")],
    ids=["while its files are hashed", "while its weights are read"],
)
def test_scoring_goes_on_while_another_model_is_loaded(
    store: ArtifactStore, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    with ScoringEngine(store, CPU) as engine, ThreadPoolExecutor(1) as elsewhere:
        before = engine.score("rm", pairs[:3])
        with slow(monkeypatch, module, function) as began:
            loading = elsewhere.submit(engine.load, "policy@1")
            assert began.wait(30)
            assert engine.score("rm", pairs[:3]) == before
            assert references(engine) == {"rm@1"}
            assert not loading.done()
        assert loading.result(30).loaded
        assert references(engine) == {"rm@1", "policy@1"}


@pytest.mark.parametrize("scorer", ["rm", "policy@2", "played", "played:policy_difference", "played:untrained_3"])
def test_the_owner_reads_no_file_and_makes_no_network(
    own: ArtifactStore, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, scorer: str
) -> None:
    threads: dict[str, set[str]] = {}

    def noting(module: Any, name: str) -> None:
        whole = getattr(module, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread().name)
            return whole(*arguments, **options)

        monkeypatch.setattr(module, name, noted)

    noting(manifest, "sha256_of")
    noting(policy, "read_network")
    noting(torch, "manual_seed")  # which controls are drawn with
    noting(loading, "check_probes")
    with ScoringEngine(own, CPU) as engine:
        assert all(isinstance(found, Scored) for found in engine.score(scorer, pairs[:3]))

    assert threads.pop("check_probes") == {OWNER}
    assert threads["sha256_of"] == {"MainThread"}
    assert not any(OWNER in where for where in threads.values())


def test_an_output_on_the_policys_features_is_what_it_is_without_an_engine(
    own: ArtifactStore, pairs: list[Pair]
) -> None:
    alone = loading.load_pair_model(own.open("played"), own, CPU)
    rows = [alone.encode(pair.prompt, pair.response) for pair in pairs]
    names = ["chosen", "policy_chosen", "untrained_3"]
    expected = alone.score(rows, names)

    with ScoringEngine(own, CPU) as engine:
        engine.load("played")  # so that it is in memory, and not ready for the others
        for column, name in enumerate(names):
            found = [each.score for each in engine.score(f"played:{name}", pairs) if isinstance(each, Scored)]
            assert found == pytest.approx(expected[:, column].tolist(), abs=1e-4)


def sizes(store: ArtifactStore, *names: str) -> list[int]:
    """Bytes of all that each is in memory with."""
    models = [loading.load_pair_model(store.open(name), store, CPU) for name in names]
    return [sum(model_bytes(network) for network in model.networks_held()) for model in models]


def test_room_is_made_before_a_model_is_read(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    of_rm, of_policy, of_both = sizes(store, "rm", "policy@1", "policy@2")
    assert of_both == 2 * of_policy, "policy@2 is read with its reference, policy@1"
    resident: list[set[str]] = []
    whole = loading.read_pair_model

    with ScoringEngine(store, CPU, max_bytes=of_rm + of_policy) as engine:

        def noting(*arguments: Any) -> PairModel:
            resident.append(references(engine))
            return whole(*arguments)

        monkeypatch.setattr(loading, "read_pair_model", noting)
        engine.load("policy@1", pin=False)
        engine.load("rm", pin=False)  # there is room for both
        engine.load("policy@2", pin=False)  # too large: policy@1, which is read with, is no longer kept for itself
        engine.load("rm", pin=False)  # and no room beside

        assert resident == [set(), {"policy@1"}, set(), set()]
        assert references(engine) == {"rm@1"}


def test_room_for_an_output_of_a_loaded_model_is_that_of_what_is_not_there_yet(
    own: ArtifactStore, pairs: list[Pair]
) -> None:
    of_rm, of_played = sizes(own, "rm", "played")
    unread = weights.weight_bytes(own.open("policy@2").path)
    with ScoringEngine(own, CPU, max_bytes=of_rm + of_played + unread) as engine:
        engine.load("rm", pin=False)
        engine.load("played", pin=False)
        list(engine.score("played:policy_chosen", pairs))
        assert references(engine) == {"rm@1", "played@1"}


def test_nobody_leaves_for_a_model_that_is_broken(own: ArtifactStore) -> None:
    weights = own.open("rm").path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with ScoringEngine(own, CPU, max_bytes=1) as engine:
        engine.load("policy@1", pin=False)
        with pytest.raises(BrokenArtifact, match="was changed"):
            engine.load("rm")
        assert references(engine) == {"policy@1"}


class Device:
    """Has memory for so many models, and forgets those that nobody holds."""

    def __init__(self, models: int, failure: Callable[[], Exception]) -> None:
        self.models = models
        self.failure = failure
        self.held: list[weakref.ref[PairModel]] = []

    def place(self, model: PairModel, device: torch.device) -> None:
        self.held = [held for held in self.held if held() is not None]
        if len(self.held) == self.models:
            raise self.failure()
        self.held.append(weakref.ref(model))


def cpu_allocator() -> RuntimeError:
    """What torch raises where the machine's memory ran out."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    return raised.value


OUT_OF_MEMORY = [lambda: torch.OutOfMemoryError("no"), MemoryError, cpu_allocator, lambda: OSError(errno.ENOMEM, "no")]


@pytest.mark.parametrize("failure", OUT_OF_MEMORY, ids=["GPU", "Python", "CPU", "mmap"])
def test_where_memory_is_short_all_that_may_leave_does_and_it_is_tried_again(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], Exception]
) -> None:
    device = Device(2, failure)
    monkeypatch.setattr(residency, "place", device.place)
    with ScoringEngine(store, CPU) as engine:
        engine.load("rm")
        engine.load("policy@1", pin=False)
        assert engine.load("policy@2", pin=False).loaded

        assert references(engine) == {"rm@1", "policy@2"}


def test_a_model_that_does_not_fit_beside_what_is_pinned_is_refused_and_leaves_nothing_behind(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(1, lambda: torch.OutOfMemoryError("no"))
    read: list[weakref.ref[PairModel]] = []
    alive: list[int] = []
    whole = loading.read_pair_model

    def noting(*arguments: Any) -> PairModel:
        alive.append(sum(model() is not None for model in read))
        model = whole(*arguments)
        read.append(weakref.ref(model))
        return model

    monkeypatch.setattr(loading, "read_pair_model", noting)
    monkeypatch.setattr(residency, "place", device.place)
    with ScoringEngine(store, CPU) as engine:
        engine.load("rm")
        with pytest.raises(OutOfMemory, match="policy@1 does not fit into memory beside what is pinned"):
            engine.load("policy@1")

        assert alive == [0, 1, 1]  # the second attempt at policy@1 finds rm alone, not what the first had read
        assert references(engine) == {"rm@1"}
        engine.unload("rm")
        assert engine.load("policy@1").loaded


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), StorageFailure, "rm@1 cannot be read: Input/output error"),
        (KeyError("pooling"), RunFailed, r"rm@1 cannot be loaded \(KeyError\)"),
        (BrokenArtifact("as it says"), BrokenArtifact, "as it says"),
    ],
    ids=["a disk that fails", "a surprise", "a broken artifact"],
)
def test_a_model_that_cannot_be_loaded_is_one_clear_error(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[AssayError], words: str
) -> None:
    def failing(*_: Any) -> PairModel:
        raise failure

    with ScoringEngine(store, CPU) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(loading, "read_pair_model", failing)
            with pytest.raises(kind, match=words):
                engine.load("rm")
        assert engine.load("rm").loaded


def test_threads_that_want_the_same_model_read_it_once(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Artifact] = []
    whole = loading.read_pair_model

    def noting(artifact: Artifact, *more: Any) -> PairModel:
        read.append(artifact)
        return whole(artifact, *more)

    monkeypatch.setattr(loading, "read_pair_model", noting)
    with ScoringEngine(store, CPU) as engine, ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(engine.open, ["rm", "rm@1"] * 4))

    assert [artifact.reference for artifact in read] == ["rm@1"]
    assert len({id(each.model) for each in opened}) == 1


def test_a_version_that_is_deleted_leaves_memory_pinned_or_not(own: ArtifactStore, pairs: list[Pair]) -> None:
    with ScoringEngine(own, CPU) as engine:
        held = engine.open("rm", pin=True)
        engine.load("policy@1")
        (before,) = engine.score("rm", pairs[:1])
        own.delete("rm@1")
        engine.unpin("rm@1")  # harmless, though there is no such artifact any more
        engine.drop_deleted()

        assert set(engine._models._models) == {own.open("policy@1").digest}
        with pytest.raises(NotFound):
            engine.score("rm", pairs[:1])
        # who had it open is answered still
        place = engine.reserve(["rm"], 1, OFFLINE)
        ((future,),) = engine.submit_opened([held], pairs[:1], "error", OFFLINE, place)
        assert future.result(30) == before


def test_what_is_not_pinned_any_more_leaves_when_room_is_needed(store: ArtifactStore) -> None:
    with ScoringEngine(store, CPU, max_bytes=1) as engine:
        engine.load("policy@1")
        engine.unpin("policy@1")
        engine.load("rm", pin=False)
        assert references(engine) == {"rm@1"}


def test_only_one_network_is_read_at_a_time_in_the_whole_process(store: ArtifactStore, tmp_path: Path) -> None:
    # transformers replaces its own functions meanwhile: two at once would keep each other's replacement
    from transformers import PreTrainedModel

    original, reading, together = PreTrainedModel.tie_weights, [0], []

    class Slow:
        @staticmethod
        def from_pretrained(path: Path, **options: Any) -> Any:
            reading[0] += 1
            together.append(reading[0])
            threading.Event().wait(0.02)
            reading[0] -= 1
            return policy.AutoModelForCausalLM.from_pretrained(path, **options)

    path = store.open("policy").path
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: weights.read_network(Slow, path), range(4)))

    assert together == [1, 1, 1, 1]
    assert PreTrainedModel.tie_weights is original


def test_the_memory_of_weights_is_known_before_they_are_read(store: ArtifactStore) -> None:
    read = Policy.load(store.open("policy").path).model
    assert weights.weight_bytes(store.open("policy").path) == 4 * sum(each.numel() for each in read.parameters())
    assert weights.weight_bytes(store.root) == 0

"""Artifacts in object storage appear whole or not at all on every machine, and no number means two things."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from tests.object_store import BadLine
from trainer import object_storage, shared_artifacts
from trainer.artifacts import ArtifactStore, Contents
from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound, StorageFailure
from trainer.object_storage import Bucket
from trainer.shared_artifacts import SharedArtifactStore, open_artifacts, share
from trainer.validation_scores import ValidationScores, read_validation_scores

Machine = Callable[[str], SharedArtifactStore]


def contents(job: str | None = None, **fields: Any) -> Contents:
    plain = {"recipe": {}, "recipe_digest": "0", "metrics": {}, "details": {}, "probes": [], "parents": []}
    return Contents(kind="policy", job=job, **{**plain, **fields})


def write(path: Path, weights: bytes = b"weights") -> None:
    (path / "model.safetensors").write_bytes(weights)
    (path / "config.json").write_text("{}")
    (path / "tokenizer").mkdir()
    (path / "tokenizer" / "vocabulary.txt").write_text("a b c")


def test_what_one_machine_publishes_another_opens_and_finds_unchanged(machine: Machine) -> None:
    published = machine("one").publish("family/a", contents(), write)
    found = machine("two").open("family/a")
    assert (found.reference, found.digest) == ("family/a@1", published.digest)
    assert found.size_bytes == 7 + 2 + 5
    found.verify()
    assert (found.path / "tokenizer/vocabulary.txt").read_text() == "a b c"
    assert sorted(path.name for path in (machine("two").root / ".staging").iterdir()) == []


def test_validation_scores_come_without_the_weights(machine: Machine) -> None:
    scores = ValidationScores(prompt=[0, 1], characters=[3, 4], cut=[False, True], scores={"score": [0.5, 1.5]})

    def write_both(path: Path) -> None:
        write(path)
        scores.save(path)

    machine("one").publish("a", contents(), write_both)
    two = machine("two")
    assert read_validation_scores(two.open("a")) == scores
    assert not list(two.root.rglob("model.safetensors"))


def test_a_list_and_a_manifest_fetch_no_weights(machine: Machine) -> None:
    machine("one").publish("a", contents(), write)
    two = machine("two")
    assert [artifact.reference for artifact in two.all()] == ["a@1"]
    assert two.open("a@1").manifest.kind == "policy"
    assert (two.open("a").directory_with("config.json") / "config.json").read_text() == "{}"
    assert read_validation_scores(two.open("a")) is None
    assert not list(two.root.rglob("model.safetensors"))


def test_versions_count_up_over_machines_and_no_number_is_given_twice(machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    assert one.publish("a", contents(), write).version == 1
    assert two.publish("a", contents(), write).version == 2
    two.delete("a@2")
    assert one.publish("a", contents(), write).version == 3
    assert [artifact.version for artifact in machine("three").versions("a")] == [1, 3]


def test_publishers_at_the_same_moment_never_share_a_version(machine: Machine) -> None:
    stores = [machine(f"machine-{number}") for number in range(4)]

    def publish(number: int) -> tuple[int, bytes]:
        weights = bytes([number])
        return stores[number % 4].publish("a", contents(), lambda path: write(path, weights)).version, weights

    with ThreadPoolExecutor(4) as pool:
        published = dict(pool.map(publish, range(12)))
    assert sorted(published) == list(range(1, 13))
    reader = machine("reader")
    for version, weights in published.items():
        assert (reader.open(f"a@{version}").path / "model.safetensors").read_bytes() == weights


def test_a_resumed_job_gets_the_version_it_published_on_another_machine(machine: Machine) -> None:
    assert machine("one").publish("a", contents("job_1"), write).version == 1
    again = machine("two").publish("a", contents("job_1"), write)
    assert again.version == 1
    again.verify()
    assert machine("two").publish("a", contents("job_2"), write).version == 2


def test_files_that_several_versions_have_are_stored_once(machine: Machine) -> None:
    one = machine("one")
    for number in range(3):
        weights = bytes([number])
        one.publish("a", contents(), lambda path, weights=weights: write(path, weights))
    assert len(one.bucket.find("files")) == 3 + 2


def test_a_producer_that_fails_leaves_nothing_behind(machine: Machine) -> None:
    def fail(path: Path) -> None:
        write(path)
        raise RuntimeError("killed half-way")

    one = machine("one")
    with pytest.raises(RuntimeError, match="half-way"):
        one.publish("a", contents(), fail)
    assert one.bucket.find("") == {}
    assert list((one.root / ".staging").iterdir()) == []


def test_a_version_exists_only_once_its_manifest_does(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine("one")
    monkeypatch.setattr(Bucket, "create", lambda *_: pytest.fail("killed before the manifest was written"))
    with pytest.raises(pytest.fail.Exception):
        one.publish("a", contents(), write)
    assert len(one.bucket.find("files")) == 3
    assert machine("two").all() == []
    with pytest.raises(NotFound):
        machine("two").open("a@1")


def test_what_is_deleted_is_gone_everywhere_with_its_copies(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_artifacts, "_FRESH_SECONDS", 0.0)
    one, two = machine("one"), machine("two")
    one.publish("a", contents(), write)
    _ = two.open("a").path
    one.delete("a@1")
    assert two.all() == []
    for store in (one, two, machine("three")):
        with pytest.raises(NotFound):
            store.open("a@1")
        assert not (store.root / "a/1").exists()


def test_a_parent_cannot_be_deleted_before_its_children_wherever_they_were_made(machine: Machine) -> None:
    parent = machine("one").publish("parent", contents(), write)
    machine("two").publish("child", contents(parents=[parent.as_parent("reference")]), write)
    with pytest.raises(Conflict, match="parent of child@1"):
        machine("one").delete("parent@1")


def test_loading_brings_parents_too(machine: Machine) -> None:
    parent = machine("one").publish("parent", contents(), write)
    machine("one").publish("child", contents(parents=[parent.as_parent("reference")]), write)
    two = machine("two")
    two.bring(two.open("child"))
    assert (two.root / "parent/1/model.safetensors").is_file()
    assert (two.root / "child/1/model.safetensors").is_file()


def test_loading_brings_no_parents_that_it_does_not_read_and_misses_none(shared: Machine) -> None:
    one, two = shared("one"), shared("two")
    parent = one.publish("parent", contents(), write)
    gone = one.publish("gone", contents(), write)
    parents = [parent.as_parent("initial"), gone.as_parent("initial"), gone.as_parent("reference")]
    one.publish("child", contents(parents=parents), write)
    one.bucket.remove(one.bucket.find("artifacts/gone"))
    two.bring(two.open("child"))
    assert (two.root / "child/1/model.safetensors").is_file()
    assert not (two.root / "parent/1").exists()


def test_a_changed_or_missing_file_is_found_before_anybody_loads_it(machine: Machine) -> None:
    one = machine("one")
    digest = one.publish("a", contents(), write).manifest.files["model.safetensors"]
    [copy] = one.bucket.find(f"files/{digest}")
    one.bucket.replace(copy, b"WEIGHTS")
    with pytest.raises(BrokenArtifact, match=r"a@1: .* which holds model\.safetensors, is not what its digest says"):
        _ = machine("two").open("a").path
    one.bucket.remove([copy])
    with pytest.raises(BrokenArtifact, match=r"model\.safetensors, is missing"):
        _ = machine("two").open("a").path
    assert not (machine("two").root / "a/1").exists()


def test_a_download_that_broke_off_is_continued(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("one").publish("a", contents(), write)
    two = machine("two")
    whole, asked = Bucket.download, []

    def break_off(self: Bucket, key: str, file: Path) -> None:
        asked.append(file.name)
        if len(asked) == 3:
            file.write_bytes(b"wei")
            raise StorageFailure("the connection broke")
        whole(self, key, file)

    monkeypatch.setattr(Bucket, "download", break_off)
    with pytest.raises(StorageFailure):
        _ = two.open("a").path
    two.open("a").verify()
    assert len(asked) == 4  # the two that were complete were not asked for again


def test_several_processes_of_a_machine_download_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("one").publish("a", contents(), write)
    whole, asked = Bucket.download, []

    def count(self: Bucket, key: str, file: Path) -> None:
        asked.append(file.name)
        time.sleep(0.02)
        whole(self, key, file)

    monkeypatch.setattr(Bucket, "download", count)
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: machine("two").open("a").path, range(6)))
    assert len(set(paths)) == 1
    assert len(asked) == 3


def test_old_files_that_nothing_names_are_collected_and_no_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    kept = one.publish("a", contents(), write)
    one.publish("b", contents(), lambda path: write(path, b"only of b"))
    one.delete("b@1")
    one.bucket.replace(f"files/{'0' * 64}/1", b"of an upload that broke off")
    assert one.collect() == 0  # nothing is old
    monkeypatch.setattr(shared_artifacts, "KEPT_UNNAMED", timedelta(seconds=-60))
    assert machine("two").collect() == 2
    assert len(one.bucket.find("files")) == 3
    machine("three").open(kept.reference).verify()


def test_an_upload_uses_a_file_that_is_there_only_while_it_is_young(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    one.publish("a", contents(), write)
    sent: list[str] = []
    upload = Bucket.upload
    monkeypatch.setattr(Bucket, "upload", lambda self, file, key: sent.append(file.name) or upload(self, file, key))
    one.publish("a", contents(), write)
    assert sent == []

    passes: list[datetime] = []
    now = datetime(2026, 11, 26, tzinfo=UTC)

    def pass_slowly_once(*_: object, **__: object) -> None:
        nonlocal now
        passes.append(now)
        now += timedelta(days=4 if len(passes) == 1 else 3)

    monkeypatch.setattr(shared_artifacts, "datetime", SimpleNamespace(now=lambda _: now))
    monkeypatch.setattr(shared_artifacts, "upload_files", pass_slowly_once)
    assert one.publish("a", contents(), write).version == 3
    # what came first in a pass of more than half of the seven days may have been collected
    assert len(passes) == 2


@pytest.fixture
def shared(tmp_path: Path) -> Machine:
    """Machines that share a directory, for what does not depend on the kind of place."""
    return lambda name: SharedArtifactStore(tmp_path / name, Bucket(f"file://{tmp_path / 'shared'}"))


def aged(store: SharedArtifactStore, keys: Iterable[str], age: timedelta) -> None:
    """Have objects look as if they were stored that long ago."""
    for key in keys:
        path = Path(store.bucket.url.removeprefix("file://")) / key
        os.utime(path, times=(time.time() - age.total_seconds(),) * 2)


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, method: str, happens: Callable[[str], object], *, of: str | None = None
) -> None:
    """Once, ``happens`` just before the named method of a bucket is carried out, or before it is ``of`` that."""
    original, done = getattr(Bucket, method), []

    def interrupted(self: Bucket, first: Any, *rest: Any) -> Any:
        if not done and (of is None or first.endswith(of)):
            done.append(True)
            happens(first)
        return original(self, first, *rest)

    monkeypatch.setattr(Bucket, method, interrupted)


EIGHT_DAYS = timedelta(days=8)


@pytest.fixture
def in_eight_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines' clocks are that far ahead of the store's, to which everything so far is old."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Later":
            return super().now(tz) + EIGHT_DAYS

    monkeypatch.setattr(shared_artifacts, "datetime", Later)


@pytest.mark.usefixtures("in_eight_days")
@pytest.mark.parametrize(("method", "of", "goes"), [("find", "artifacts", 0), ("remove", None, 3)])
def test_what_is_sent_again_while_old_files_are_collected_stays(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, method: str, of: str | None, goes: int
) -> None:
    """Before manifests are listed, and between the last look at the old copies and their removal."""
    one, two = machine("one"), machine("two")
    one.publish("a", contents(), write)
    old = set(one.bucket.find("files"))
    one.bucket.remove(one.bucket.find("artifacts"))  # as a publisher leaves it that was killed before its manifest
    meanwhile(monkeypatch, method, lambda _: two.publish("a", contents(), write), of=of)
    assert one.collect() == goes
    assert len(set(one.bucket.find("files")) - old) == 3
    machine("three").open("a@1").verify()


@pytest.mark.usefixtures("in_eight_days")
def test_of_several_old_copies_that_are_needed_one_stays(machine: Machine) -> None:
    one = machine("one")
    one.publish("a", contents(), write)
    one.publish("a", contents(), write)  # its own copies, for those of the first may be about to go
    assert len(one.bucket.find("files")) == 6
    assert one.collect() == 3
    assert one.collect() == 0
    for reference in ("a@1", "a@2"):
        machine("two").open(reference).verify()


@pytest.mark.usefixtures("in_eight_days")
def test_files_as_they_were_stored_once_without_copies_are_read_and_used_and_never_removed(machine: Machine) -> None:
    one = machine("one")
    one.publish("a", contents(), write)
    for copy in one.bucket.find("files"):
        content = one.bucket.read(copy)
        one.bucket.remove([copy])
        Path(one.bucket.url.removeprefix("file://"), copy).parent.rmdir() if one.bucket.url.startswith("file") else None
        one.bucket.replace(copy.rpartition("/")[0], content or b"")
    one.publish("a", contents(), write)
    assert one.collect() == 0
    assert {key.count("/") for key in one.bucket.find("files")} == {1}
    machine("two").open("a@2").verify()


def test_a_number_that_is_given_and_deleted_during_an_upload_is_not_given_again(
    shared: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_artifacts, "_FRESH_SECONDS", 0.0)
    one, two, reader = shared("one"), shared("two"), shared("reader")

    def elsewhere(_: str) -> None:
        two.publish("a", contents(), lambda path: write(path, b"of two"))
        reader.open("a@1").verify()
        two.delete("a@1")

    meanwhile(monkeypatch, "create", elsewhere, of="manifest.json")
    assert one.publish("a", contents(), write).version == 2
    assert [artifact.version for artifact in shared("three").versions("a")] == [2]
    assert list(one.bucket.find("artifacts/a/1")) == ["artifacts/a/1/deleted"]
    assert [artifact.reference for artifact in reader.all()] == ["a@2"]
    with pytest.raises(NotFound):
        reader.open("a@1")


def test_a_deletion_that_broke_off_counts_and_is_completed(shared: Machine) -> None:
    one = shared("one")
    one.publish("a", contents(), write)
    one.bucket.create("artifacts/a/1/deleted", b"")
    two = shared("two")
    assert two.all() == []
    with pytest.raises(NotFound):
        two.open("a@1")
    two.collect()
    assert sorted(one.bucket.find("artifacts")) == ["artifacts/a/1/deleted"]


def test_files_are_kept_seven_days_from_the_deletion_of_what_named_them(shared: Machine) -> None:
    one = shared("one")
    one.publish("a", contents(), write)
    aged(one, one.bucket.find("files"), EIGHT_DAYS)
    reading = shared("two").open("a@1")
    one.delete("a@1")
    assert one.collect() == 0
    reading.verify()  # it had no more than the manifest so far
    aged(one, one.bucket.find("artifacts"), EIGHT_DAYS)
    assert one.collect() == 3


def test_files_of_a_version_that_is_deleted_while_old_ones_are_collected_stay(
    shared: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = shared("one"), shared("two")
    one.publish("a", contents(), write)
    aged(one, one.bucket.find("files"), EIGHT_DAYS)
    deleter = shared("deleter")
    deleter.all()
    original = SharedArtifactStore._list

    def list_then_delete(self: SharedArtifactStore, *, fresh: bool = False) -> Any:
        found = original(self, fresh=fresh)
        monkeypatch.setattr(SharedArtifactStore, "_list", original)
        deleter.delete("a@1")
        return found

    monkeypatch.setattr(SharedArtifactStore, "_list", list_then_delete)
    assert two.collect() == 0


def test_a_directory_is_of_one_place(url: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    ArtifactStore(own).publish("a", contents(), write)
    with pytest.raises(InvalidInput, match="artifacts of its own: `assay artifacts share` sends them"):
        open_artifacts(own, url)
    copies = open_artifacts(tmp_path / "copies", url).root
    with pytest.raises(InvalidInput, match="set ASSAY_STORAGE_URL"):
        open_artifacts(copies, None)
    with pytest.raises(InvalidInput, match="holds copies of"):
        open_artifacts(copies, f"{url}-other")


def test_what_a_directory_holds_is_shared_under_the_numbers_it_has(url: str, machine: Machine, tmp_path: Path) -> None:
    own = ArtifactStore(tmp_path / "own")
    first, second = (own.publish("a", contents(), write) for _ in range(2))
    own.delete("a@1")
    child = own.publish("b/c", contents(parents=[second.as_parent("reference")]), write)
    assert share(own.root, url) == ["a@2", "b/c@1"]
    assert share(own.root, url) == []  # again: nothing is left to do
    for artifact in (second, child):
        found = machine("two").open(artifact.reference)
        assert found.digest == artifact.digest
        found.verify()
    assert open_artifacts(own.root, url).publish("a", contents(), write).version == 3
    assert first.version == 1

    other = ArtifactStore(tmp_path / "other")
    other.publish("b/c", contents(), write)
    with pytest.raises(Conflict, match=r"has or had another b/c@1"):
        share(other.root, url)


@pytest.mark.parametrize("text", ["s3:/x", "ftp://x", "/a/b", "s3://", "file:///"])
def test_a_place_is_a_url_of_a_kind_that_is_known(text: str) -> None:
    with pytest.raises(InvalidInput, match="s3://, gs://, file://"):
        Bucket(text)


class Undecided:
    """Stands for s3fs before a store that answers 409 a number of times, as S3 does to writers at the same moment."""

    def __init__(self, times: int, then: Exception | None = None) -> None:
        self.times = times
        self.then = then

    def pipe_file(self, path: str, content: bytes, *, mode: str) -> None:
        assert (path, content, mode) == ("bucket/team/key", b"content", "create")
        if self.times:
            self.times -= 1
            raise translate_boto_error(
                ClientError(
                    {"Error": {"Code": "ConditionalRequestConflict"}, "ResponseMetadata": {"HTTPStatusCode": 409}},
                    "PutObject",
                )
            )
        if self.then is not None:
            raise self.then


def test_a_name_that_two_create_at_the_same_moment_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_storage, "_WAITS", (0.0, 0.0))

    def create(system: Undecided) -> bool:
        bucket = Bucket("s3://bucket/team")
        vars(bucket)["_system"] = system
        return bucket.create("key", b"content")

    assert create(Undecided(2)) is True
    assert create(Undecided(2, FileExistsError())) is False
    with pytest.raises(StorageFailure, match=r"does not create key: .*ConditionalRequestConflict"):
        create(Undecided(3))
    refused = Undecided(0, PermissionError("AccessDenied"))
    with pytest.raises(StorageFailure, match="AccessDenied"):
        create(refused)


PUBLISHER = """
import json, multiprocessing, signal, sys, time
from pathlib import Path
import s3fs
from trainer.artifacts import Contents
from trainer.shared_artifacts import open_artifacts

def publish(root, url, job, seed, seconds, took):
    store = open_artifacts(Path(root), url)
    store.versions("a")
    def write(path):
        for number in range(6):
            (path / f"part-{number}.safetensors").write_bytes(bytes([number, seed]) * 20_000)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        took.value = -time.monotonic()
    store.publish("a", Contents("policy", {}, "0", {}, {}, [], [], job=job), write)
    if took.value:  # else its job has published already
        took.value += time.monotonic()

fork = multiprocessing.get_context("fork")
for line in sys.stdin:
    took = fork.Value("d", 0.0)
    process = fork.Process(target=publish, args=(*json.loads(line), took))
    process.start()
    process.join()
    print(process.exitcode, took.value, flush=True)
"""
"""Publishes in a process for each line, which the system kills so many seconds after that began, or never at 0; says
how it ended and, where it was not killed, what it took. Nobody else can be too late to kill it.

They are forks of one that has read its libraries and has no threads: to start Python took longer than to publish.
"""


@contextmanager
def publishers() -> Iterator[Callable[..., tuple[int, float]]]:
    """``publish(root, url, job, seed, seconds)``: its exit status, and what it took."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", PUBLISHER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def publish(*what: str | float) -> tuple[int, float]:
            print(json.dumps(what), file=questions, flush=True)
            status, took = answers.readline().split()
            return int(status), float(took)

        yield publish


def kill_at_random_moments(machine: Machine, url: str, tmp_path: Path, rounds: int) -> Counter[int]:
    """Each job is published by a process that is killed, then by one that is not, on another machine.

    Returns how often a killed one had sent so many of its six files.
    """
    reader, bucket = machine("reader").root, Bucket(url)
    sent: Counter[int] = Counter()
    digests = set()
    took = 0.01  # of the first, which is killed at its beginning
    with publishers() as publish:
        for number in range(rounds):
            job, seed = f"job_{number}", number % 250
            moment = random.Random(number).uniform(0, took)
            status, _ = publish(str(tmp_path / "killed"), url, job, seed, moment)
            if status == -signal.SIGALRM:
                sent[len(bucket.find("files")) - 6 * number] += 1
            for artifact in SharedArtifactStore(reader, bucket).versions("a")[number:]:
                artifact.verify()  # if it is there it is whole
            status, worked = publish(str(tmp_path / "survivor"), url, job, seed, 0.0)
            took = worked or took
            assert status == 0
            found = SharedArtifactStore(reader, bucket).versions("a")
            assert [artifact.manifest.job for artifact in found] == [f"job_{i}" for i in range(number + 1)]
            found[-1].verify()
            digests.add(found[-1].digest)
    assert [artifact.version for artifact in found] == list(range(1, rounds + 1))
    assert len(digests) == rounds
    return sent


def test_a_publisher_killed_at_any_moment_leaves_nothing_half_published(
    machine: Machine, url: str, tmp_path: Path
) -> None:
    assert sum(kill_at_random_moments(machine, url, tmp_path, rounds=2).values()) >= 1


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_publishers_killed_at_a_hundred_moments_leave_nothing_half_published(
    machine: Machine, url: str, tmp_path: Path
) -> None:
    sent = kill_at_random_moments(machine, url, tmp_path, rounds=100)
    print(f"killed with so many of six files sent: {sorted(sent.items())}")  # noqa: T201 - what was survived
    assert sum(sent.values()) >= 50
    assert sent.keys() >= {0, 2, 4}


@pytest.fixture
def line_to(
    s3: str, s3_place: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Any]:
    """``line_to(trouble)``: a place in a bucket behind a line with troubles, and how a machine behind it sees it."""

    def make(trouble: Callable[[str, str], str | None]) -> Any:
        url = s3_place()
        line = BadLine(s3, trouble)
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.address)
        import fsspec

        fsspec.get_filesystem_class("s3").clear_instance_cache()
        return line, url

    yield make
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_lost_answer_to_the_last_write_does_not_publish_twice(line_to: Callable[..., Any], tmp_path: Path) -> None:
    lost: list[str] = []

    def lose_first_manifest(method: str, path: str) -> str | None:
        if method == "PUT" and path.endswith("/manifest.json") and not lost:
            lost.append(path)
            return "lose the answer"
        return None

    line, url = line_to(lose_first_manifest)
    with line:
        store = open_artifacts(tmp_path / "one", url)
        assert store.publish("a", contents("job_1"), write).version == 1
        assert [artifact.version for artifact in store.versions("a")] == [1]
        manifests = [seen for seen in line.seen if seen[0] == "PUT" and seen[1].endswith("/manifest.json")]
    assert lost
    assert len(manifests) >= 2  # it was sent again, and refused because it was there


def test_refusals_and_broken_connections_are_tried_again(line_to: Callable[..., Any], tmp_path: Path) -> None:
    draw = random.Random(5)
    troubles = {"refuse": 0, "cut": 0, "lose the answer": 0}

    def now_and_then(method: str, path: str) -> str | None:
        if draw.random() < 0.75:
            return None
        kind = draw.choice(sorted(troubles))
        troubles[kind] += 1
        return kind

    line, url = line_to(now_and_then)
    with line:
        versions = [open_artifacts(tmp_path / "one", url).publish("a", contents(), write).version for _ in range(2)]
        found = open_artifacts(tmp_path / "two", url).open("a@2")
        found.verify()
    assert versions == [1, 2]
    assert sum(troubles.values()) >= 3


def test_a_store_that_is_away_fails_the_publication_and_leaves_nothing(
    line_to: Callable[..., Any], s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away = True
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    line, url = line_to(lambda method, path: "refuse" if away else None)
    with line:
        store = open_artifacts(tmp_path / "one", url)
        with pytest.raises(StorageFailure, match="check the place, the credentials and the connection"):
            store.publish("a", contents(), write)
        assert list((store.root / ".staging").iterdir()) == []
        away = False
        assert store.publish("a", contents(), write).version == 1


def test_a_store_that_lets_a_name_be_taken_twice_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine("one")
    one.check_writable()
    assert one.bucket.find(".check") == {}

    def ignore_the_condition(self: Bucket, key: str, content: bytes) -> bool:
        self.replace(key, content)
        return True

    monkeypatch.setattr(Bucket, "create", ignore_the_condition)
    with pytest.raises(StorageFailure, match="lets two writers take one name"):
        one.check_writable()

"""What a run had when its machine was lost is what another machine goes on from, and no mixture of two moments."""

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from trainer import run_mirror
from trainer.errors import BrokenArtifact, StorageFailure
from trainer.object_storage import Bucket
from trainer.run_mirror import RunMirror, forget_run, stored_file, stored_runs

Mirror = Callable[[str], RunMirror]


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_mirror, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(run_mirror, "PATIENCE_SECONDS", 0.0)


@pytest.fixture
def on(url: str, tmp_path: Path) -> Mirror:
    """``on(machine)``: the mirror of ``job_1`` as a process on that machine has it."""
    return lambda machine: RunMirror(Bucket(url), directory(tmp_path, machine))


def directory(tmp_path: Path, machine: str) -> Path:
    found = tmp_path / machine / "job_1"
    found.mkdir(parents=True, exist_ok=True)
    return found


def write(run: Path, step: int, *, events: int | None = None) -> None:
    """As a run is after ``step`` steps."""
    (run / "recipe.json").write_text("{}")
    checkpoint = run / "checkpoints" / f"step-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pt").write_text(str(step))
    for old in (run / "checkpoints").iterdir():
        if old != checkpoint:
            (old / "state.pt").unlink()
            old.rmdir()
    lines = [json.dumps({"sequence": number + 1}) for number in range(step if events is None else events)]
    (run / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (run / "rows.jsonl").write_text("row\n" * step)
    (run / "log.txt").write_text(f"log of {step}\n")


def names(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def test_another_machine_goes_on_from_what_was_stored(on: Mirror, tmp_path: Path) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    mirror = on("one")
    assert mirror.restore() is False
    mirror.start()
    write(one, 1)
    mirror.pulse()
    mirror.close()
    write(one, 2)  # what comes after the last copy is lost with the machine
    (two / "recipe.json").write_text("{ }")
    (two / "log.txt").write_text("starting on two\n")
    (two / "lock").touch()

    assert on("two").restore() is True

    assert (two / "checkpoints/step-1/state.pt").read_text() == "1"
    assert (two / "rows.jsonl").read_text() == "row\n"
    assert (two / "recipe.json").read_text() == "{ }"
    assert (two / "log.txt").read_text() == "log of 1\nstarting on two\n"
    assert len((two / "events.jsonl").read_text().splitlines()) == 1
    assert on("two").restore() is False


def test_a_machine_that_has_the_last_state_keeps_its_own(on: Mirror, tmp_path: Path) -> None:
    one = directory(tmp_path, "one")
    mirror = on("one")
    mirror.start()
    write(one, 1)
    mirror.close()
    write(one, 2)
    assert on("one").restore() is False
    assert (one / "checkpoints/step-2/state.pt").is_file()


def test_what_a_machine_has_of_an_attempt_before_another_one_elsewhere_is_replaced(on: Mirror, tmp_path: Path) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    first = on("one")
    first.start()
    write(one, 1)
    first.close()
    second = on("two")
    second.restore()
    second.start()
    write(two, 5)
    second.close()
    (one / "stale").touch()

    assert on("one").restore() is True

    assert (one / "checkpoints/step-5/state.pt").is_file()
    assert not (one / "checkpoints/step-1").exists()
    assert not (one / "stale").exists()
    assert len((one / "events.jsonl").read_text().splitlines()) == 5


def test_events_that_the_database_restored_are_kept_where_they_are_more(on: Mirror, tmp_path: Path) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    mirror = on("one")
    mirror.start()
    write(one, 3)
    mirror.close()
    (two / "events.jsonl").write_text("".join(f'{{"sequence": {number + 1}}}\n' for number in range(7)))
    on("two").restore()
    assert len((two / "events.jsonl").read_text().splitlines()) == 7


def test_a_run_that_was_given_up_and_still_writes_harms_nobody(on: Mirror, url: str, tmp_path: Path) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    given_up = on("one")
    given_up.start()
    write(one, 1)
    given_up.close()
    successor = on("two")
    successor.restore()
    successor.start()
    write(two, 4)
    successor.close()
    write(one, 2)
    given_up.close()

    three = directory(tmp_path, "three")
    assert on("three").restore() is True
    assert (three / "checkpoints/step-4/state.pt").is_file()
    assert {key.split("/")[2] for key in Bucket(url).find("runs/job_1")} <= {"1", "2"}


def test_what_is_stored_is_of_one_moment_though_the_run_goes_on(
    on: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    go_on = threading.Event()
    upload = Bucket.upload

    def wait(self: Bucket, file: Path, key: str) -> None:
        go_on.wait(10)
        upload(self, file, key)

    monkeypatch.setattr(Bucket, "upload", wait)
    mirror = on("one")
    mirror.start()
    write(one, 1)
    mirror.pulse()
    write(one, 2)
    mirror.pulse()  # the first is under way: the run does not wait for it
    go_on.set()
    assert mirror._sending is not None
    mirror._sending.join()
    on("two").restore()
    assert names(two / "checkpoints") == ["step-1/state.pt"]
    assert (two / "rows.jsonl").read_text() == "row\n"


def test_only_what_changed_is_sent_and_what_no_copy_names_goes(
    on: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = directory(tmp_path, "one")
    sent: list[str] = []
    upload = Bucket.upload
    monkeypatch.setattr(Bucket, "upload", lambda self, file, key: sent.append(file.name) or upload(self, file, key))
    mirror = on("one")
    mirror.start()
    write(one, 1)
    mirror.close()
    assert sorted(sent) == ["events.jsonl", "log.txt", "recipe.json", "rows.jsonl", "state.pt"]
    sent.clear()
    (one / "rows.jsonl").write_text("row\nrow\n")
    mirror.close()
    assert sent == ["rows.jsonl"]
    assert len([key for key in Bucket(url).find("runs/job_1") if "/files/" in key]) == 5
    assert names(one) == sorted(
        [".mirror-number", "checkpoints/step-1/state.pt", "events.jsonl", "log.txt", "recipe.json", "rows.jsonl"]
    )


def test_a_copy_that_breaks_off_leaves_the_one_before(
    on: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    mirror = on("one")
    mirror.start()
    write(one, 1)
    mirror.close()
    upload = Bucket.upload

    def refuse(self: Bucket, file: Path, key: str) -> None:
        if file.name == "rows.jsonl":
            raise StorageFailure("the connection broke")
        upload(self, file, key)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "upload", refuse)
        write(one, 2)
        mirror.pulse()
        mirror.close()
    assert "the connection broke" in caplog.text
    on("two").restore()
    assert (two / "checkpoints/step-1/state.pt").is_file()
    mirror.close()
    third = directory(tmp_path, "three")
    on("three").restore()
    assert (third / "checkpoints/step-2/state.pt").is_file()


def test_a_copy_that_is_damaged_is_not_gone_on_from(on: Mirror, url: str, tmp_path: Path) -> None:
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    mirror = on("one")
    mirror.start()
    write(one, 1)
    mirror.close()
    bucket = Bucket(url)
    for key in bucket.find("runs/job_1"):
        if "/files/" in key:
            bucket.replace(key, b"?")
    with pytest.raises(BrokenArtifact, match="not what its digest says"):
        on("two").restore()
    assert [name for name in names(two) if not name.startswith(".")] == []


@pytest.fixture
def shared(tmp_path: Path) -> Mirror:
    """As ``on``, in a directory that machines share, for what does not depend on the kind of place."""
    return lambda machine: RunMirror(Bucket(f"file://{tmp_path / 'shared'}"), directory(tmp_path, machine))


@pytest.mark.parametrize("storing", ["one", "other"])
def test_a_copy_that_is_replaced_while_it_is_restored_is_restored_anew(
    shared: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storing: str
) -> None:
    """By the process that was given up and stores once more, or by another one under a newer number."""
    one, two = directory(tmp_path, "one"), directory(tmp_path, "two")
    given_up = shared("one")
    given_up.start()
    write(one, 1)
    (one / "a-note").write_text("of the first step")
    given_up.close()
    (one / "a-note").unlink()
    storing_now = given_up
    if storing == "other":
        storing_now = shared("one")
        storing_now.start()
    download, asked = Bucket.download, []

    def interrupted(self: Bucket, key: str, file: Path) -> None:
        download(self, key, file)
        asked.append(file.name)
        if len(asked) == 1:
            write(one, 2)
            storing_now.close()

    monkeypatch.setattr(Bucket, "download", interrupted)
    assert shared("two").restore() is True
    assert asked[0] == "a-note"
    assert (two / "checkpoints/step-2/state.pt").read_text() == "2"
    assert (two / "rows.jsonl").read_text() == "row\nrow\n"
    assert not (two / "a-note").exists()
    assert not (two / "checkpoints/step-1").exists()


@pytest.mark.parametrize(("work", "method"), [("restore", "find"), ("start", "create")])
def test_a_store_that_does_not_answer_when_a_run_begins_is_asked_for_a_while(
    shared: Mirror, monkeypatch: pytest.MonkeyPatch, clock: Callable[..., None], work: str, method: str
) -> None:
    now, asked = [0.0], []
    original = getattr(Bucket, method)

    def unreachable(self: Bucket, *what: Any) -> Any:
        asked.append(now[0])
        if now[0] < back:
            raise StorageFailure("the store is away; check the connection")
        return original(self, *what)

    monkeypatch.setattr(Bucket, method, unreachable)
    monkeypatch.setattr(run_mirror, "PATIENCE_SECONDS", 20.0)
    clock(run_mirror, monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    back = 10.0
    getattr(shared("one"), work)()
    assert asked[:5] == [0, 1, 3, 7, 15]
    back = 1000.0
    with pytest.raises(StorageFailure, match=r"within 20 seconds: the store is away; check the connection, then resum"):
        getattr(shared("one"), work)()
    assert now[0] <= 15 + 20


def test_only_a_result_that_is_a_success_is_taken_over(on: Mirror, tmp_path: Path) -> None:
    one, two, three = (directory(tmp_path, name) for name in ("one", "two", "three"))
    mirror = on("one")
    mirror.start()
    write(one, 1)
    (one / "result.json").write_text('{"status": "failed"}')
    mirror.close()
    on("two").restore()
    assert not (two / "result.json").exists()
    (one / "result.json").write_text('{"status": "succeeded"}')
    mirror.close()
    on("three").restore()
    assert (three / "result.json").exists()


def test_what_is_stored_can_be_read_listed_and_forgotten(on: Mirror, url: str, tmp_path: Path) -> None:
    bucket = Bucket(url)
    assert stored_file(bucket, "job_1", "log.txt") is None
    mirror = on("one")
    mirror.start()
    write(directory(tmp_path, "one"), 1)
    mirror.close()
    assert stored_file(bucket, "job_1", "log.txt") == b"log of 1\n"
    assert stored_file(bucket, "job_1", "nothing") is None
    assert stored_runs(bucket) == {"job_1"}
    forget_run(bucket, "job_1", lambda: False)
    assert stored_runs(bucket) == {"job_1"}
    forget_run(bucket, "job_1", lambda: True)
    assert stored_runs(bucket) == set()


def test_who_restores_while_a_copy_is_forgotten_finds_all_of_it_or_nothing(
    on: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a process that was killed left the copy before it: then that one is not taken for the last."""
    monkeypatch.setattr(Bucket, "remove", lambda self, keys: None)
    for step in (1, 2):
        mirror = on("one")
        mirror.start()
        write(directory(tmp_path, "one"), step)
        mirror.close()
    monkeypatch.undo()
    monkeypatch.setattr(run_mirror, "PATIENCE_SECONDS", 0.0)
    everything = names(directory(tmp_path, "one"))
    found: list[list[str]] = []
    remove = Bucket.remove

    def one_by_one(self: Bucket, keys: Iterable[str]) -> None:
        for key in list(keys):
            remove(self, [key])
            machine = f"machine-{len(found)}"
            restored = on(machine).restore()
            found.append(names(directory(tmp_path, machine)))
            assert restored == bool(found[-1])

    monkeypatch.setattr(Bucket, "remove", one_by_one)
    forget_run(Bucket(url), "job_1", lambda: True)
    assert found == [everything] + [[]] * (len(found) - 1)
    assert len(found) == 2 * (1 + 1 + 5)  # two numbers, each with an index, the mark that it is taken, and five files


def test_a_copy_that_is_forgotten_while_it_is_restored_is_none(
    on: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = on("one")
    mirror.start()
    write(directory(tmp_path, "one"), 1)
    mirror.close()
    find, asked = Bucket.find, []

    def forgotten(self: Bucket, prefix: str) -> Any:
        asked.append(prefix)
        if len(asked) == 4:  # the list of numbers, the first file, and now the second
            forget_run(Bucket(url), "job_1", lambda: True)
        return find(self, prefix)

    monkeypatch.setattr(Bucket, "find", forgotten)
    assert on("two").restore() is False
    assert len(asked) > 4
    assert [name for name in names(directory(tmp_path, "two")) if not name.startswith(".")] == []


def test_a_run_that_was_restored_and_then_forgotten_stores_above_what_it_had(
    on: Mirror, url: str, tmp_path: Path
) -> None:
    for machine, step in (("one", 1), ("two", 2), ("three", 3)):
        mirror = on(machine)
        mirror.restore()
        mirror.start()
        write(directory(tmp_path, machine), step)
        mirror.close()
    resumed = on("four")
    assert resumed.restore() is True
    forget_run(Bucket(url), "job_1", lambda: True)
    resumed.start()
    resumed.close()
    assert (directory(tmp_path, "four") / ".mirror-number").read_text() == "4\n"
    assert on("three").restore() is True


@pytest.mark.parametrize(("log", "end"), [("0123456789", b"6789"), ("0123", b"0123"), ("012", b"012"), ("", b"")])
def test_of_the_end_of_a_file_no_more_is_brought(on: Mirror, url: str, tmp_path: Path, log: str, end: bytes) -> None:
    mirror = on("one")
    mirror.start()
    write(directory(tmp_path, "one"), 1)
    (directory(tmp_path, "one") / "log.txt").write_text(log)
    mirror.close()
    bucket = Bucket(url)
    brought = []
    whole = bucket._system.cat_file

    def cat_file(path: str, **asked: Any) -> bytes:
        brought.append(whole(path, **asked))
        return bytes(brought[-1])

    bucket._system.cat_file = cat_file
    try:
        assert stored_file(bucket, "job_1", "log.txt", last=4) == end
        assert stored_file(bucket, "job_1", "nothing", last=4) is None
        assert brought[1] == end  # after the index
    finally:
        del bucket._system.cat_file  # systems are shared


def test_checkpoints_are_linked_rather_than_copied(on: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = directory(tmp_path, "one")
    links: list[int] = []
    upload = Bucket.upload

    def look(self: Bucket, file: Path, key: str) -> None:
        if file.name == "state.pt":
            links.append(file.stat().st_nlink)
        upload(self, file, key)

    monkeypatch.setattr(Bucket, "upload", look)
    mirror = on("one")
    mirror.start()
    write(one, 1)
    mirror.close()
    assert links == [2]

"""A run directory kept in object storage while the run works, so that another machine can go on with it.

    <url>/runs/<run>/<number>/index.json        written last: which files the directory had at one moment
    <url>/runs/<run>/<number>/files/<sha256>    those files

Every process that carries the run out takes a number of its own, writes below it alone, and, once it has stored the
directory there, removes the numbers before it. So one that was given up and still writes harms nobody.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trainer.artifacts import ArtifactStore
from trainer.errors import BrokenArtifact, StorageFailure
from trainer.files import sha256_of, storage_errors, write_atomically
from trainer.object_storage import Bucket, download_files
from trainer.reporting import EVENTS_FILE, HEARTBEAT_FILE, STOP_FILE, last_sequence
from trainer.shared_artifacts import SharedArtifactStore
from trainer.staging import staged_as

SECONDS_BETWEEN = 60.0
"""That pass after a copy has been stored before the next one is begun."""
PATIENCE_SECONDS = 300.0
"""How long a run that begins waits for a store that does not do as it is told."""

_LONGEST_PAUSE = 30.0

Result = TypeVar("Result")

_RUNS = "runs"
_INDEX = "index.json"
STAGING = ".mirror"
"""Below a run directory: a copy of it that is being stored or restored."""

_NUMBER_FILE = ".mirror-number"
_LOG = "log.txt"
_RESULT = "result.json"
_OF_THE_PLACE = {STOP_FILE, HEARTBEAT_FILE, "lock"}
_STAYS = {EVENTS_FILE, _LOG, "recipe.json", *_OF_THE_PLACE}


def mirror_of(artifacts: ArtifactStore, directory: Path) -> "RunMirror | None":
    """The mirror of a job's run directory where artifacts are in object storage, else None."""
    return RunMirror(artifacts.bucket, directory) if isinstance(artifacts, SharedArtifactStore) else None


def forget_run(bucket: Bucket, run: str, is_over: Callable[[], bool]) -> None:
    """Remove what is stored of a run, if ``is_over()`` says that it was not resumed.

    That is asked after the objects were listed, so what a run stores once it is resumed is not among them. The indexes
    go first, the newest last of them: who restores meanwhile finds everything or nothing, never a part.
    """
    stored = _numbers(bucket, run)
    if not is_over():
        return
    prefix = f"{_RUNS}/{run}"
    bucket.remove(f"{prefix}/{number}/{_INDEX}" for number in sorted(stored) if _INDEX in stored[number])
    bucket.remove(f"{prefix}/{number}/{rest}" for number in sorted(stored) for rest in stored[number] - {_INDEX})


def stored_runs(bucket: Bucket) -> set[str]:
    """Names of the runs of which something is stored."""
    return {key.split("/")[1] for key in bucket.find(_RUNS)}


def stored_file(bucket: Bucket, run: str, relative: str, *, last: int | None = None) -> bytes | None:
    """What a file of a run's directory held when it was stored last, or the ``last`` bytes of it.

    None where nothing is known of it.
    """
    prefix, newest = f"{_RUNS}/{run}", _newest(_numbers(bucket, run))
    content = bucket.read(f"{prefix}/{newest}/{_INDEX}") if newest else None
    sha256 = None if content is None else json.loads(content)["files"].get(relative)
    return None if sha256 is None else bucket.read(f"{prefix}/{newest}/files/{sha256}", last=last)


class RunMirror:
    """The copy of one run directory, named as it is; used by the process that works in it."""

    def __init__(self, bucket: Bucket, directory: Path) -> None:
        self._bucket = bucket
        self._directory = directory
        self._prefix = f"{_RUNS}/{directory.name}"
        self._number = 0
        self._due = float("-inf")
        self._sending: threading.Thread | None = None
        self._digests: dict[str, tuple[tuple[int, int], str]] = {}
        self._sent: set[str] = set()

    def restore(self) -> bool:
        """Make the directory what was stored last, unless it is that or newer already; whether it was made so.

        Events and log that are here stay, for the database or another process may have written them. Raises
        StorageFailure, after trying for a while, or BrokenArtifact where it cannot be had: better than to begin anew.
        """
        return _patiently("restored", self._restore)

    def start(self) -> None:
        """Take a number to store the directory under. Raises StorageFailure after trying for a while."""
        _patiently("begun in the store", self._start)

    def _restore(self) -> bool:
        here = self._number_here()
        while (stored := self._stored()) is not None and stored[0] > here:
            number, index = stored
            # what a broken attempt has fetched is of use for this very index, and for another one in the way
            place = f"restored-{hashlib.sha256(index).hexdigest()}"
            try:
                with storage_errors(self._directory), staged_as(self._directory / STAGING, place) as staging:
                    files = json.loads(index)["files"]
                    download_files(self._bucket, f"{self._prefix}/{number}/files", files, staging)
                    self._put_in_place(staging, with_log=here == 0)
            except BrokenArtifact:
                if self._stored() == stored:
                    raise
                continue  # whoever was given up still stores, and removed what only the index before named
            write_atomically(self._directory / _NUMBER_FILE, f"{number}\n")
            shutil.rmtree(self._directory / STAGING, ignore_errors=True)
            return True
        return False

    def _stored(self) -> tuple[int, bytes] | None:
        """The number that something was stored under last, and its index; None where nothing is."""
        while newest := _newest(_numbers(self._bucket, self._directory.name)):
            content = self._bucket.read(f"{self._prefix}/{newest}/{_INDEX}")
            if content is not None:  # else a newer number has just replaced it
                return newest, content
        return None

    def _start(self) -> None:
        # also above the one here, which may have been forgotten in the store since it was restored
        number = max([self._number_here(), *_numbers(self._bucket, self._directory.name)]) + 1
        while not self._bucket.create(f"{self._prefix}/{number}/taken", b""):
            number += 1
        self._number = number
        self._due = time.monotonic() + SECONDS_BETWEEN

    def pulse(self) -> None:
        """Store the directory if it is time, in the background. Called by the thread that writes in it.

        What it holds at this moment is copied first (checkpoints, which never change, are linked), so that what is
        stored is what a kill at this moment would have left.
        """
        if time.monotonic() < self._due or (self._sending is not None and self._sending.is_alive()):
            return
        try:
            snapshot = self._snapshot()
        except OSError as error:
            self._warn(error)
            return
        self._sending = threading.Thread(target=self._try_to_send, args=(snapshot,), name="mirror", daemon=True)
        self._sending.start()

    def close(self) -> None:
        """Store the directory as it is in the end."""
        if self._sending is not None:
            self._sending.join()
        try:
            self._try_to_send(self._snapshot())
        except OSError as error:
            self._warn(error)
        shutil.rmtree(self._directory / STAGING, ignore_errors=True)

    def _try_to_send(self, snapshot: Path) -> None:
        try:
            self._send(snapshot)
        except Exception as error:  # the run itself is well
            self._warn(error)
        else:
            self._due = time.monotonic() + SECONDS_BETWEEN
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)

    def _warn(self, error: Exception) -> None:
        logging.getLogger(__name__).warning("the run directory was not stored, which is tried again: %s", error)
        self._due = time.monotonic() + SECONDS_BETWEEN

    def _snapshot(self) -> Path:
        snapshot = self._directory / STAGING / "snapshot"
        shutil.rmtree(snapshot, ignore_errors=True)
        for file in _files(self._directory):
            if file.name in _OF_THE_PLACE:
                continue
            copy = snapshot / file.relative_to(self._directory)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not (copy.relative_to(snapshot).parts[0] == "checkpoints" and _link(file, copy)):
                shutil.copy2(file, copy)
        return snapshot

    def _send(self, snapshot: Path) -> None:
        files = {str(file.relative_to(snapshot)): file for file in _files(snapshot)}
        digests = {relative: self._digest(relative, file) for relative, file in files.items()}
        for relative, sha256 in digests.items():
            if sha256 not in self._sent:
                self._bucket.upload(files[relative], f"{self._prefix}/{self._number}/files/{sha256}")
                self._sent.add(sha256)
        index = json.dumps({"files": digests}, indent=2) + "\n"
        self._bucket.replace(f"{self._prefix}/{self._number}/{_INDEX}", index.encode())
        first = self._number_here() < self._number
        write_atomically(self._directory / _NUMBER_FILE, f"{self._number}\n")
        unnamed = self._sent - set(digests.values())
        self._bucket.remove(f"{self._prefix}/{self._number}/files/{sha256}" for sha256 in unnamed)
        self._sent -= unnamed
        if first:
            for number in (number for number in _numbers(self._bucket, self._directory.name) if number < self._number):
                self._bucket.remove(self._bucket.find(f"{self._prefix}/{number}"))

    def _digest(self, relative: str, file: Path) -> str:
        state = (file.stat().st_size, file.stat().st_mtime_ns)
        if self._digests.get(relative, (None, ""))[0] != state:
            self._digests[relative] = (state, sha256_of(file))
        return self._digests[relative][1]

    def _put_in_place(self, staging: Path, *, with_log: bool) -> None:
        for entry in self._directory.iterdir():
            if entry.name in _STAYS or entry.name.startswith("."):
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if last_sequence(staging) > last_sequence(self._directory):
            (staging / EVENTS_FILE).replace(self._directory / EVENTS_FILE)
        log = staging / _LOG
        if with_log and log.exists():  # in place, for whoever started this process has it open
            said_here = self._directory / _LOG
            now = said_here.read_bytes() if said_here.exists() else b""
            said_here.write_bytes(log.read_bytes() + now)
        result = staging / _RESULT
        if result.exists() and json.loads(result.read_bytes())["status"] != "succeeded":
            result.unlink()  # of an attempt before this one
        for entry in list(staging.iterdir()):
            if entry.name not in _STAYS or not (self._directory / entry.name).exists():
                entry.replace(self._directory / entry.name)

    def _number_here(self) -> int:
        file = self._directory / _NUMBER_FILE
        return int(file.read_text(encoding="utf-8")) if file.exists() else 0


def _patiently(done: str, work: Callable[[], Result]) -> Result:
    """The result of ``work``, tried again while the store does not answer: before a run nothing else would."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, 1.0
    while True:
        try:
            return work()
        except StorageFailure as error:
            if time.monotonic() + pause > deadline:
                raise StorageFailure(
                    f"the run could not be {done} within {PATIENCE_SECONDS:.0f} seconds: {error.detail}, then resume it"
                ) from error
            logging.getLogger(__name__).warning("the run was not %s, which is tried again: %s", done, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _numbers(bucket: Bucket, run: str) -> dict[int, set[str]]:
    """Which objects there are below each number taken."""
    found: dict[int, set[str]] = {}
    for key in bucket.find(f"{_RUNS}/{run}"):
        _, _, number, rest = key.split("/", 3)
        found.setdefault(int(number), set()).add(rest)
    return found


def _newest(numbers: dict[int, set[str]]) -> int:
    """The last number something complete is stored under, 0 if there is none."""
    return max((number for number, objects in numbers.items() if _INDEX in objects), default=0)


def _files(directory: Path) -> list[Path]:
    """Files at any depth but the hidden ones, which are being written or of this machine alone."""
    return [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    ]


def _link(file: Path, copy: Path) -> bool:
    try:
        os.link(file, copy)
    except OSError:  # not every file system can
        return False
    return True

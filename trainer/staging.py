"""Directories to write in before they are moved into place, each under a lock that says that its writer lives.

The system drops a lock when its holder is gone, so what a killed writer left is known for what it is.
"""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKPOINT_STAGING = "checkpoints/.staging"
"""Below a run directory, whose own lock it is under: a state that is being written."""

_LOCK = ".lock"


@contextmanager
def staged(root: Path) -> Iterator[Path]:
    """A new directory below ``root``, removed afterwards unless it was moved away. Raises OSError."""
    with staged_as(root, uuid.uuid4().hex) as directory:
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def staged_as(root: Path, name: str) -> Iterator[Path]:
    """The directory ``name`` below ``root``, which stays, for one writer while others wait. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True)
    lock = _acquire(root / (name + _LOCK), wait=True)
    assert lock is not None
    try:
        (root / name).mkdir(exist_ok=True)
        yield root / name
    finally:
        (root / (name + _LOCK)).unlink(missing_ok=True)
        os.close(lock)


def sweep(root: Path, older_than_seconds: float) -> int:
    """Remove what writers that are gone left below ``root``, untouched for so long; return how many things went."""
    if not root.is_dir():
        return 0
    gone = 0
    for name in {entry.name.removesuffix(_LOCK) for entry in root.iterdir()}:
        left = root / name
        if time.time() - last_touched(left, root / (name + _LOCK)) < older_than_seconds:
            continue
        lock = _acquire(root / (name + _LOCK), wait=False)
        if lock is None:
            continue
        try:
            gone += left.exists()
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        finally:
            (root / (name + _LOCK)).unlink(missing_ok=True)
            os.close(lock)
    return gone


def last_touched(*paths: Path) -> float:
    """When anything in or of ``paths`` last changed, in seconds since 1970; 0 where there is nothing."""
    times = [0.0]
    for path in paths:
        for entry in (path, *path.rglob("*")):
            try:
                times.append(entry.lstat().st_mtime)
            except OSError:  # gone meanwhile
                continue
    return max(times)


def _acquire(path: Path, *, wait: bool) -> int | None:
    """The descriptor of a locked file; None where somebody else holds it and we do not ``wait``."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        try:
            same = os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            same = False
        if same:  # or whoever held it before took the file away, and others may lock a new one
            return descriptor
        os.close(descriptor)

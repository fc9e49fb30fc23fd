"""Who works in a run directory: a lock that the system drops when its holders are gone.

A child process inherits the open file and holds the lock to its end, whatever becomes of the server that started
it. So "is it still running?" has an answer that no reused process id can falsify.
"""

import fcntl
import os
import time
from pathlib import Path

from trainer.errors import Conflict
from trainer.files import storage_errors

LOCK_FILE = "lock"

_PROBE_SECONDS = 0.2


def acquire(directory: Path) -> int:
    """Lock ``directory``; the lock lasts until every copy of the returned file descriptor is closed.

    Raises Conflict while somebody else works there.
    """
    with storage_errors(directory):
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + _PROBE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # `is_held` of another process also holds it, for an instant
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise Conflict(f"another process works in {directory}; wait for it or cancel it") from None
            time.sleep(_PROBE_SECONDS / 20)
        else:
            return descriptor


def is_held(directory: Path) -> bool:
    """Whether a process works in ``directory``."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

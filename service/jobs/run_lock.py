"""Who works in a run directory: a lock that the system drops when its holders are gone.

A child process inherits the open file and holds the lock to its end, whatever becomes of the server that started
it. So "is it still running?" has an answer that no reused process id can falsify.

``python -m service.jobs.run_lock DIRECTORY COMMAND...`` becomes COMMAND with the lock held, where no server holds it.
"""

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from trainer.errors import AssayError, Conflict
from trainer.files import storage_errors

LOCK_FILE = "lock"

_PROBE_SECONDS = 0.2
_SECONDS_TO_DIE = 30.0
"""Of a process whose machine was given up for lost a moment ago."""


def acquire(directory: Path, wait_seconds: float = _PROBE_SECONDS) -> int:
    """Lock ``directory``; the lock lasts until every copy of the returned file descriptor is closed.

    Raises Conflict where somebody else works there for longer than ``wait_seconds``.
    """
    with storage_errors(directory):
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + wait_seconds
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


def main(directory: Path, command: list[str]) -> NoReturn:
    """Become ``command``, which works in ``directory``."""
    try:
        os.set_inheritable(acquire(directory, _SECONDS_TO_DIE), True)
    except AssayError as error:
        sys.exit(error.detail)
    os.execv(command[0], command)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

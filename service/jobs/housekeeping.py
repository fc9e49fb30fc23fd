"""A thread that deletes what the settings no longer keep and what nobody needs.

It has nothing to do with the one that keeps leases: object storage or a disk that hangs holds up nothing else.
"""

import logging
import threading

from sqlalchemy.orm import Session, sessionmaker

from service.jobs.leftovers import tidy
from service.jobs.retention import forget
from service.settings import Settings

_SECONDS_BETWEEN = 3600.0
_SECONDS_TO_END = 10.0
"""That a stop waits for a deletion under way; what is cut off is finished by the next round."""


class Housekeeping:
    """At its start and once an hour; what fails is said once and tried again an hour later."""

    def __init__(self, settings: Settings, make_session: sessionmaker[Session]) -> None:
        self._settings = settings
        self._make_session = make_session
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop working, if it works."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS_TO_END)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for step in (forget, tidy):
                try:
                    step(self._make_session, self._settings)
                except Exception:
                    log = logging.getLogger(__name__)
                    log.exception("housekeeping: %s failed; tried again in an hour", step.__name__)
            self._stopping.wait(_SECONDS_BETWEEN)

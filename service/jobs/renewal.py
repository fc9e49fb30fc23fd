"""A thread that gives signs of life at the jobs of one owner, whatever its dispatcher waits for."""

import logging
import threading

from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.jobs.leases import Lease, renew

_SECONDS_TO_END = 10.0


class Renewal:
    """Three signs in the time of a lease; what fails is tried again at the next."""

    def __init__(self, make_session: sessionmaker[Session], lease: Lease) -> None:
        self._make_session = make_session
        self._lease = lease
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Give none any more."""
        self._stopping.set()
        self._thread.join(_SECONDS_TO_END)

    def _run(self) -> None:
        while not self._stopping.wait(self._lease.seconds / 3):
            try:
                with writing(self._make_session) as session:
                    renew(session, self._lease)
            except Exception as error:
                logging.getLogger(__name__).warning("leases not renewed; trying again: %s", error)

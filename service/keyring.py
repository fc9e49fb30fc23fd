"""The keys of the database, as a server remembers them between two looks."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from anyio import to_thread
from sqlalchemy.orm import Session, sessionmaker

from service.db.failures import database_errors
from service.db.keys import any_key, find_key, touch_key
from service.db.session import writing
from service.security.keys import Key
from service.security.quotas import Quotas

CACHE_SECONDS = 5.0
"""How long what the database said about a key is believed: a revoked key works for that long at most."""

_TOUCH_EVERY = timedelta(minutes=1)
_MOST_REMEMBERED = 4096

Answer = TypeVar("Answer")


class Keyring:
    """Finds keys for the event loop without holding it up, and counts what they use."""

    def __init__(self, make_session: sessionmaker[Session], clock: Callable[[], float] = time.monotonic) -> None:
        self.quotas = Quotas()
        self._make_session = make_session
        self._clock = clock
        self._needed: tuple[float, bool] | None = None
        self._found: dict[str, tuple[float, Key | None]] = {}
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="keys")

    def close(self) -> None:
        """Write what is still to be noted."""
        self._notes.shutdown()

    async def needed(self) -> bool:
        """Whether a key is needed: once one was made, always."""
        known, now = self._needed, self._clock()
        if known is None or (not known[1] and now - known[0] >= CACHE_SECONDS):
            known = self._needed = (now, await to_thread.run_sync(self._ask, any_key))
        return known[1]

    async def find(self, prefix: str) -> Key | None:
        """The key of ``prefix``, also one that has ended."""
        known, now = self._found.get(prefix), self._clock()
        if known is None or now - known[0] >= CACHE_SECONDS:
            key = await to_thread.run_sync(self._ask, lambda session: find_key(session, prefix))
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            known = self._found[prefix] = (now, key)
        return known[1]

    def used(self, key: Key) -> None:
        """Note that a key was used: in the background, and once a minute."""
        now = datetime.now(UTC)
        if key.last_used_at is None or now - key.last_used_at >= _TOUCH_EVERY:
            if key.prefix in self._found:
                self._found[key.prefix] = (self._found[key.prefix][0], replace(key, last_used_at=now))
            self._notes.submit(self._note, key, now)

    def _ask(self, question: Callable[[Session], Answer]) -> Answer:
        with database_errors(), self._make_session() as session:
            return question(session)

    def _note(self, key: Key, now: datetime) -> None:
        try:
            with writing(self._make_session) as session:
                touch_key(session, key.id, now)
        except Exception:
            logging.getLogger(__name__).exception("the use of key %s could not be noted", key.prefix)

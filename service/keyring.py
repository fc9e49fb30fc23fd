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

from service.db.browser_sessions import close_session, open_session, prefix_of_session
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
_Remembered = dict[str, tuple[float, Answer | None]]
"""What the database said, and when."""


class Keyring:
    """Finds keys for the event loop without holding it up, and counts what they use."""

    def __init__(self, make_session: sessionmaker[Session]) -> None:
        self.quotas = Quotas()
        self._make_session = make_session
        self._needed: tuple[float, bool] | None = None
        self._found: _Remembered[Key] = {}
        self._sessions: _Remembered[str] = {}
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="keys")

    def close(self) -> None:
        """Write what is still to be noted."""
        self._notes.shutdown()

    async def needed(self) -> bool:
        """Whether a key is needed: once one was made, always."""
        known, now = self._needed, time.monotonic()
        if known is None or (not known[1] and now - known[0] >= CACHE_SECONDS):
            known = self._needed = (now, await to_thread.run_sync(self._ask, any_key))
        return known[1]

    async def find(self, prefix: str) -> Key | None:
        """The key of ``prefix``, also one that has ended."""
        return await self._look(self._found, prefix, find_key)

    async def of_session(self, cookie: str) -> Key | None:
        """The key that a browser's cookie stands for, also one that has ended."""
        prefix = await self._look(self._sessions, cookie, prefix_of_session)
        return None if prefix is None else await self.find(prefix)

    async def open_session(self, key: Key) -> str:
        """A new cookie that stands for ``key``."""
        return await to_thread.run_sync(self._change, lambda session: open_session(session, key))

    async def close_session(self, cookie: str) -> None:
        """Let a cookie stand for nothing any more: here at once, on other servers once they look again."""
        await to_thread.run_sync(self._change, lambda session: close_session(session, cookie))
        self._sessions.pop(cookie, None)

    def used(self, key: Key) -> None:
        """Note that a key was used: in the background, and once a minute."""
        now = datetime.now(UTC)
        if key.last_used_at is None or now - key.last_used_at >= _TOUCH_EVERY:
            if key.prefix in self._found:
                self._found[key.prefix] = (self._found[key.prefix][0], replace(key, last_used_at=now))
            self._notes.submit(self._note, key, now)

    async def _look(
        self, memory: _Remembered[Answer], name: str, question: Callable[[Session, str], Answer | None]
    ) -> Answer | None:
        known, now = memory.get(name), time.monotonic()
        if known is None or now - known[0] >= CACHE_SECONDS:
            answer = await to_thread.run_sync(self._ask, lambda session: question(session, name))
            if len(memory) >= _MOST_REMEMBERED:
                memory.clear()
            known = memory[name] = (now, answer)
        return known[1]

    def _change(self, change: Callable[[Session], Answer]) -> Answer:
        with database_errors(), writing(self._make_session) as session:
            return change(session)

    def _ask(self, question: Callable[[Session], Answer]) -> Answer:
        with database_errors(), self._make_session() as session:
            return question(session)

    def _note(self, key: Key, now: datetime) -> None:
        try:
            with writing(self._make_session) as session:
                touch_key(session, key.id, now)
        except Exception:
            logging.getLogger(__name__).exception("the use of key %s could not be noted", key.prefix)

"""Scorers the operator wants in memory before the server calls itself ready."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from service.scoring import ScoringService
from trainer.errors import AssayError

RETRY_SECONDS = 10.0
"""After which a scorer that could not be loaded is tried again: it may be published meanwhile."""


class Pinned:
    """Loads scorers in the background and keeps them."""

    def __init__(self, scoring: ScoringService, names: Sequence[str], retry_seconds: float = RETRY_SECONDS) -> None:
        self._scoring = scoring
        self._retry_seconds = retry_seconds
        self.missing: dict[str, str] = dict.fromkeys(names, "loading")
        """Why each of those that are not there yet is not."""

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[None]:
        """Load while the block runs."""
        task = asyncio.create_task(self._load_all())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _load_all(self) -> None:
        while self.missing:
            for name in list(self.missing):
                await self._load(name)
            if self.missing:
                await asyncio.sleep(self._retry_seconds)

    async def _load(self, name: str) -> None:
        try:
            engine = await self._scoring.engine()
            await asyncio.to_thread(partial(engine.load, name, pin=True))
        except AssayError as error:
            self.missing[name] = error.detail
        except Exception:
            logging.getLogger(__name__).exception("pinned scorer %s cannot be loaded", name)
            self.missing[name] = "cannot be loaded; the server's log says why"
        else:
            del self.missing[name]

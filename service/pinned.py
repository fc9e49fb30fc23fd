"""Scorers the operator wants in memory before the server calls itself ready."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.db.failures import database_errors
from service.scoring import ScoringService
from trainer.errors import AssayError, NotFound

if TYPE_CHECKING:
    from evaluation.engine.scoring import ScoringEngine

RETRY_SECONDS = 10.0
"""After which all are looked after again: one may be published, unloaded or moved meanwhile."""


class Pinned:
    """Loads scorers in the background and keeps them, also those that an alias or a new version points to later."""

    def __init__(self, scoring: ScoringService, names: Sequence[str], retry_seconds: float = RETRY_SECONDS) -> None:
        self._scoring = scoring
        self._names = tuple(names)
        self._retry_seconds = retry_seconds
        self._why: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        """The version kept of each, ``NAME@VERSION``."""
        self.tried = asyncio.Event()
        """Set once each was loaded or could not be."""

    def missing(self) -> dict[str, str]:
        """Why each of those that are not in memory at this moment is not. Reads manifests: not for the event loop."""
        engine = self._scoring.opened_already()
        found = {}
        for name in self._names:
            try:
                with database_errors():  # which knows the aliases
                    if engine is not None and (engine.describe(name).loaded or self._serves_still(engine, name)):
                        continue
                found[name] = self._why.get(name, "loading")
            except AssayError as error:
                found[name] = error.detail
        return found

    def _serves_still(self, engine: "ScoringEngine", name: str) -> bool:
        """Whether what the name stood for before does, until what it stands for now is loaded too."""
        try:
            return name in self._kept and engine.describe(self._kept[name]).loaded
        except NotFound:  # it was deleted
            return False

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[None]:
        """Load, load again what is not there any more, and drop what was deleted, while the block runs."""
        task = asyncio.create_task(self._load_all())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _load_all(self) -> None:
        while True:
            for name in self._names:
                await self._load(name)
            self.tried.set()
            await self._drop_deleted()
            await asyncio.sleep(self._retry_seconds)

    async def _drop_deleted(self) -> None:
        """Others may delete too, so it is not enough to do so as this server deletes."""
        engine = self._scoring.opened_already()
        if engine is not None:
            try:
                await asyncio.to_thread(engine.drop_deleted)
            except Exception as error:  # a store that is away for a moment
                logging.getLogger(__name__).warning("cannot see which loaded versions were deleted: %s", error)

    async def _load(self, name: str) -> None:
        try:
            engine = await self._scoring.engine()
            await asyncio.to_thread(self._keep, engine, name)
        except AssayError as error:
            self._why[name] = error.detail
        except Exception:
            if name not in self._why:  # in the log once, not at every try
                logging.getLogger(__name__).exception("pinned scorer %s cannot be loaded", name)
            self._why[name] = "cannot be loaded; the server's log says why"
        else:
            self._why.pop(name, None)

    def _keep(self, engine: "ScoringEngine", name: str) -> None:
        """Pin what the name stands for now; what it stood for before may leave, unless another name keeps it."""
        info = engine.load(name, pin=True)
        exact, before = f"{info.name}@{info.version}", self._kept.get(name)
        self._kept[name] = exact
        if before not in {None, *self._kept.values()}:
            engine.unpin(str(before))  # harmless where it was deleted

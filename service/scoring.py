"""The scoring engine on behalf of a server: requests are awaited, and those who wait hold up nobody else.

The engine brings torch, so it is opened by a background thread after the server is up; the event loop only ever
awaits futures.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from evaluation.engine.terms import INTERACTIVE, Terms
from service.answering import Cold, Queued, answer, queue_request, reserve
from service.imports import heavy_imports
from service.score_schema import OnOverlong, ScoreAnswer, ScoreItem, ScoreRequest, check_characters
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError

if TYPE_CHECKING:
    import torch

    from evaluation.engine.line import Place
    from evaluation.engine.meter import EngineMeter
    from evaluation.engine.scoring import Scored, ScorerInfo, ScoringEngine

_MANY_CHARACTERS = 200_000
"""A request of more is tokenised apart from the others: about a tenth of a second of work."""


def open_engine(
    artifacts: ArtifactStore,
    *,
    resolve_alias: Callable[[str], str | None] | None = None,
    meter: "EngineMeter | None" = None,
    max_waiting_pairs: int = 8192,
    room_for_models: "Callable[[torch.device], int] | None" = None,
    deterministic: bool = False,
    on_gpu: bool = True,
) -> "ScoringEngine":
    """The scoring engine over ``artifacts``, on the first GPU if there is one and it may; silent about the loading of
    weights. ``room_for_models`` says how many bytes of a device's memory they may take; all of it unless given."""
    with heavy_imports():
        import torch
        from transformers.utils import logging as transformers_logging

        from evaluation.engine.scoring import ScoringEngine

    transformers_logging.disable_progress_bar()
    device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
    return ScoringEngine(
        artifacts,
        device,
        resolve_alias=resolve_alias,
        meter=meter,
        max_waiting_pairs=max_waiting_pairs,
        max_bytes=room_for_models and room_for_models(device),
        deterministic=deterministic,
    )


def unnamed(_: str) -> AbstractContextManager[object]:
    """A stage that nobody hears of."""
    return nullcontext()


class ScoringService:
    """Owns the engine on behalf of the server. Routes await it; nothing here blocks the event loop."""

    def __init__(
        self,
        artifacts: ArtifactStore,
        opener: "Callable[[ArtifactStore], ScoringEngine]" = open_engine,
        stage: Callable[[str], AbstractContextManager[object]] = unnamed,
    ) -> None:
        """``stage`` is entered, with its name, for each part of answering a request."""
        self.artifacts = artifacts
        self._stage = stage
        self._opener = opener
        # nobody waits for a model that somebody else asked for, nor small requests for the texts of large ones
        self._loaders = ThreadPoolExecutor(4, thread_name_prefix="assay-loading")
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="assay-reading")
        self._bulk_readers = ThreadPoolExecutor(2, thread_name_prefix="assay-bulk-reading")
        self._engine: Future[ScoringEngine] | None = None
        self._starting = threading.Lock()

    def start(self) -> "Future[ScoringEngine]":
        """Begin opening the engine unless that has begun. One that could not be opened is tried again."""
        with self._starting:
            if self._engine is None or _failed(self._engine):
                self._engine = self._loaders.submit(self._opener, self.artifacts)
            return self._engine

    def opened(self) -> "ScoringEngine":
        """Wait for the engine: not for the event loop."""
        return self.start().result()

    def opened_already(self) -> "ScoringEngine | None":
        """The engine, where it is open."""
        opening = self._engine
        open_now = opening is not None and opening.done() and not opening.cancelled() and not opening.exception()
        return opening.result() if opening is not None and open_now else None

    def stop_admitting(self) -> None:
        """Refuse whoever comes or holds for room; what was admitted goes on."""
        if (engine := self.opened_already()) is not None:
            engine.stop_admitting()

    def close(self) -> None:
        """Let the engine finish and give its memory back."""
        if self._engine is not None and not self._engine.cancel() and self._engine.exception() is None:
            self._engine.result().close()
        for pool in (self._loaders, self._readers, self._bulk_readers):
            pool.shutdown()

    async def engine(self) -> "ScoringEngine":
        opening = self.start()
        if not opening.done():
            # shielded: a caller who goes away must not cancel the opening for everybody else
            await asyncio.shield(asyncio.wrap_future(opening))
        return opening.result()

    async def score(self, request: ScoreRequest, terms: Terms = INTERACTIVE) -> ScoreAnswer:
        """See ``queue_request`` and ``answer`` for what is raised. Holding for room, where ``terms`` say so, costs no
        thread."""
        check_characters(request.items, len(request.scorers))
        engine = await self.engine()
        place = reserve(engine, request, terms)
        try:
            with self._stage("assay.room"):
                if not place.granted.done():
                    await asyncio.wrap_future(place.granted)
                place.granted.result()
            with self._stage("assay.encode"):
                queued = await self._queue(engine, request, terms, place)
        except BaseException:  # whoever went away meanwhile gives the room back, and is not queued
            place.leave()
            raise
        with self._stage("assay.score"):
            await _settled(queued.futures())
        return answer(queued)

    async def _queue(self, engine: "ScoringEngine", request: ScoreRequest, terms: Terms, place: "Place") -> Queued:
        large = sum(item.characters() for item in request.items) > _MANY_CHARACTERS
        queue = partial(queue_request, engine, request, terms, place)
        try:
            readers = self._bulk_readers if large else self._readers
            return await _queued_by(readers, partial(queue, may_load=False))
        except Cold:
            return await _queued_by(self._loaders, queue)

    async def score_with(self, scorer: str, items: list[ScoreItem], on_overlong: OnOverlong = "error") -> ScoreAnswer:
        """As ``score`` with one scorer, at which errors about it point."""
        try:
            return await self.score(ScoreRequest(scorers=[scorer], items=items, on_overlong=on_overlong))
        except AssayError as error:
            error.pointer = error.pointer and "/scorer"
            raise

    async def scorers(self) -> "list[ScorerInfo]":
        """What can score."""
        engine = await self.engine()
        return await asyncio.get_running_loop().run_in_executor(self._loaders, engine.list)


def _failed(opening: "Future[ScoringEngine]") -> bool:
    return opening.done() and not opening.cancelled() and opening.exception() is not None


async def _queued_by(pool: ThreadPoolExecutor, queue: Callable[[], Queued]) -> Queued:
    """What a thread queues; where its waiter leaves meanwhile, it is dropped as soon as it stands in the line."""
    queuing = pool.submit(queue)
    try:
        return await asyncio.wrap_future(queuing)
    except asyncio.CancelledError:
        queuing.add_done_callback(_drop)
        raise


def _drop(queuing: "Future[Queued]") -> None:
    if not queuing.cancelled() and queuing.exception() is None:
        for future in queuing.result().futures():
            future.cancel()


async def _settled(futures: "list[Future[Scored]]") -> None:
    """Wait until every future has an outcome, waking the event loop once however many there are.

    They are cancelled with their waiter, so that the engine drops the work of whoever went away.
    """
    if not futures:
        return
    loop = asyncio.get_running_loop()
    settled = loop.create_future()
    left = count(len(futures) - 1, -1)  # several threads may count down: ``next`` is one step for all of them

    def settle() -> None:
        if not settled.done():  # by its waiter's leaving
            settled.set_result(None)

    def one_less(_: "Future[Scored]") -> None:
        if next(left) == 0:
            loop.call_soon_threadsafe(settle)

    for future in futures:
        future.add_done_callback(one_less)
    try:
        await settled
    except asyncio.CancelledError:
        for future in futures:
            future.cancel()
        raise

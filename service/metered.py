"""The scoring service on behalf of one caller: it counts against the quotas of their key, and ends as they hang up."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Annotated

import anyio
from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from evaluation.engine.terms import INTERACTIVE, Terms
from service.access import caller_of
from service.keyring import Keyring
from service.metrics import ScoreMetrics
from service.monitoring.sampling import Sampler
from service.score_schema import OnOverlong, Score, ScoreAnswer, ScoreItem, ScoreRequest
from service.scoring import ScoringService
from trainer.errors import AssayError


class MeteredScoring:
    """Scores like the service does, within the caller's quotas."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._service: ScoringService = request.app.state.scoring
        self._keyring: Keyring = request.app.state.keyring
        self._key = caller_of(request).key
        self._metrics: ScoreMetrics = request.app.state.metrics.scores
        self._sampler: Sampler = request.app.state.sampler

    async def score(self, request: ScoreRequest, terms: Terms = INTERACTIVE, *, sampled: bool = True) -> ScoreAnswer:
        """As ``ScoringService.score``; raises QuotaExceeded and ClientDisconnect too.

        ``sampled`` says whether it is production's scoring, a share of which monitoring keeps.
        """
        with self._admitted(request.items, len(request.scorers)):
            answer = await self._while_connected(self._service.score(request, terms))
        if sampled:
            self._sampler.offer(request.items, answer)
        return self._charged(answer)

    async def score_with(self, scorer: str, items: list[ScoreItem], on_overlong: OnOverlong = "error") -> ScoreAnswer:
        """As ``ScoringService.score_with``; raises QuotaExceeded and ClientDisconnect too."""
        with self._admitted(items, 1):
            answer = await self._while_connected(self._service.score_with(scorer, items, on_overlong))
        return self._charged(answer)

    async def _while_connected(self, scoring: Awaitable[ScoreAnswer]) -> ScoreAnswer:
        """What ``scoring`` answers; it is cancelled where there is nobody left to answer, as servers do not."""
        with anyio.CancelScope() as connected:
            watch = asyncio.create_task(self._cancel_when_gone(connected))
            try:
                return await scoring
            finally:
                watch.cancel()
        raise ClientDisconnect

    async def _cancel_when_gone(self, connected: anyio.CancelScope) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        connected.cancel()

    @contextmanager
    def _admitted(self, items: list[ScoreItem], scorers: int) -> Iterator[None]:
        """Counts the pairs, unless the service refuses them: who sends again what was refused pays once."""
        if self._key is None:
            yield
            return
        pairs = sum(len(item.texts()) for item in items) * scorers
        self._keyring.quotas.admit_pairs(self._key, pairs)
        try:
            yield
        except AssayError:
            self._keyring.quotas.give_pairs_back(self._key, pairs)
            raise

    def _charged(self, answer: ScoreAnswer) -> ScoreAnswer:
        self._metrics.observe(answer)
        if self._key is not None:
            rows = (row for item in answer.items for row in item.scores)
            cells = (cell for row in rows for cell in row.values())
            self._keyring.quotas.charge_tokens(self._key, sum(cell.tokens for cell in cells if isinstance(cell, Score)))
        return answer


async def metered_scoring(request: Request) -> MeteredScoring:
    """Dependency of the routes that score. It awaits nothing; a plain function would cost each request a thread."""
    return MeteredScoring(request)


Scoring = Annotated[MeteredScoring, Depends(metered_scoring)]

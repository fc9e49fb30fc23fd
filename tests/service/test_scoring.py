"""The scoring service opens its engine in the background and never blocks the event loop."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

import pytest

from evaluation.engine.meter import BatchReading, Counts
from evaluation.engine.scoring import OpenScorer, Pair, Scored, ScoringEngine
from evaluation.engine.terms import INTERACTIVE, TRAINER, Terms
from service.answering import answer, queue_request
from service.errors import outcome_of
from service.score_schema import Reason, ScoreRequest
from service.scoring import ScoringService
from trainer.artifacts import ArtifactStore
from trainer.errors import DeadlineExceeded, InvalidInput, Overloaded

REQUEST = ScoreRequest.model_validate(
    {"scorers": ["tiny"], "items": [{"prompt": "product lamp", "responses": ["It is blue .", "The lamp is red ."]}]}
)


def test_nothing_is_opened_before_it_is_needed_and_closing_then_is_no_error(published: ArtifactStore) -> None:
    opened = []

    def open_engine(store: ArtifactStore) -> ScoringEngine:
        opened.append(1)
        return ScoringEngine(store)

    ScoringService(published, open_engine).close()

    assert opened == []


def test_the_event_loop_turns_while_the_engine_opens_and_one_leaving_caller_takes_nobody_along(
    published: ArtifactStore,
) -> None:
    may_open = threading.Event()
    opened = []

    def open_slowly(store: ArtifactStore) -> ScoringEngine:
        may_open.wait(30)
        opened.append(1)
        return ScoringEngine(store)

    async def scenario() -> int:
        leaving = asyncio.create_task(service.score(REQUEST))
        staying = asyncio.create_task(service.score(REQUEST))
        await asyncio.sleep(0.01)  # would not return if either blocked the loop
        leaving.cancel()
        await asyncio.sleep(0.01)
        may_open.set()
        return len((await staying).items[0].scores)

    service = ScoringService(published, open_slowly)
    assert asyncio.run(scenario()) == 2
    assert opened == [1]
    service.close()


def test_an_engine_without_room_fails_the_whole_request_so_that_it_can_be_sent_again(published: ArtifactStore) -> None:
    async def scenario() -> None:
        await service.score(REQUEST)
        (await service.engine()).close()  # admits nobody, as a full one
        with pytest.raises(Overloaded):
            await service.score(REQUEST)

    service = ScoringService(published)
    asyncio.run(scenario())
    service.close()


def test_offline_scoring_and_serving_give_the_same_answer(published: ArtifactStore) -> None:
    service = ScoringService(published)
    served = asyncio.run(service.score(REQUEST))
    service.close()
    with ScoringEngine(published) as engine:
        offline = answer(queue_request(engine, REQUEST))

    assert offline == served


def test_an_unexpected_failure_tells_that_it_happened_and_no_more() -> None:
    reason = Reason.of(RuntimeError("/secret/path"))

    assert reason.code == "internal"
    assert "/secret/path" not in reason.detail


def small_engine(store: ArtifactStore) -> ScoringEngine:
    return ScoringEngine(store, max_waiting_pairs=2)


def test_a_held_request_waits_for_room_where_others_are_refused_at_once(published: ArtifactStore) -> None:
    async def scenario() -> int:
        await service.score(REQUEST)
        engine = await service.engine()
        while engine.waiting.pairs:  # noqa: ASYNC110 - an answer is told before its room is free
            await asyncio.sleep(0.001)
        everything = engine.reserve(["tiny"], 2, INTERACTIVE)
        with pytest.raises(Overloaded, match="2 pairs already wait"):
            await service.score(REQUEST)
        # more of them than there are threads to tokenise with
        held = [asyncio.create_task(service.score(REQUEST, TRAINER)) for _ in range(8)]
        leaving = asyncio.create_task(service.score(REQUEST, TRAINER))
        await asyncio.sleep(0.01)
        assert engine.waiting.held_pairs == 18
        leaving.cancel()
        await asyncio.sleep(0.01)
        assert engine.waiting.held_pairs == 16
        everything.leave()
        return len(await asyncio.gather(*held))

    service = ScoringService(published, small_engine)
    assert asyncio.run(scenario()) == 8
    service.close()


@pytest.mark.parametrize("leaves", ["while it is queued", "while it is scored"])
def test_the_work_of_who_went_away_is_dropped(published: ArtifactStore, leaves: str) -> None:
    begun, go_on, told = threading.Event(), threading.Event(), threading.Event()
    stages: list[str] = []
    queued: list[Future[Scored]] = []

    class Slow(Counts):
        def batch(self, reading: BatchReading) -> None:
            begun.set()
            go_on.wait(60)  # the device with it
            super().batch(reading)

    class Engine(ScoringEngine):
        def submit_opened(self, *what: Any) -> list[list[Future[Scored]]]:
            found = super().submit_opened(*what)
            if begun.is_set():
                queued.extend(found[0])
                told.wait(60)  # and stand in the line before anybody hears of it
            return found

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        stages.append(name)
        yield

    meter = Slow()

    async def scenario() -> None:
        first = asyncio.create_task(service.score(REQUEST))
        await asyncio.to_thread(begun.wait, 60)
        leaving = asyncio.create_task(service.score(REQUEST))
        if leaves == "while it is scored":
            told.set()
            while stages.count("assay.score") < 2:  # noqa: ASYNC110 - appended to by the event loop itself
                await asyncio.sleep(0.001)
        while not queued:  # noqa: ASYNC110 - by a thread
            await asyncio.sleep(0.001)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        told.set()
        while not all(future.cancelled() for future in queued):  # noqa: ASYNC110 - by a thread
            await asyncio.sleep(0.001)
        go_on.set()
        await first
        await service.score(REQUEST)

    service = ScoringService(published, lambda store: Engine(store, meter=meter), stage)
    asyncio.run(asyncio.wait_for(scenario(), 60))
    service.close()
    assert meter.rows == 4  # of the first request and the last


def test_a_request_that_came_too_late_fails_whole_with_a_status_that_says_so(published: ArtifactStore) -> None:
    async def scenario() -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            await service.score(REQUEST, Terms(within_seconds=0.0))
        assert outcome_of(caught.value).status == 504

    service = ScoringService(published)
    asyncio.run(scenario())
    service.close()


def test_threads_that_ask_at_once_open_one_engine() -> None:
    for _ in range(200):
        opened: list[int] = []
        service = ScoringService(cast(Any, None), lambda _, opened=opened: cast(Any, opened.append(1)))  # type: ignore[misc]
        together = threading.Barrier(4)

        def ask(service: ScoringService = service, together: threading.Barrier = together) -> None:
            together.wait(10)
            service.opened()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        service._loaders.shutdown()
        assert opened == [1]


def test_an_engine_that_could_not_be_opened_is_tried_again(published: ArtifactStore) -> None:
    failures = [OSError("the disk is away for a moment")]

    def open_engine(store: ArtifactStore) -> ScoringEngine:
        if failures:
            raise failures.pop()
        return ScoringEngine(store)

    service = ScoringService(published, open_engine)
    with pytest.raises(OSError, match="away"):
        asyncio.run(service.score(REQUEST))

    assert len(asyncio.run(service.score(REQUEST)).items[0].scores) == 2
    service.close()


class Blocked(ScoringEngine):
    """Neither loads ``family/other`` nor tokenises a long text before it is told to."""

    go_on = threading.Event()

    def open(self, scorer: str, *, pin: bool = False) -> OpenScorer:
        if scorer == "family/other":
            self.go_on.wait(30)
        return super().open(scorer, pin=pin)

    def submit_opened(
        self, scorers: Sequence[OpenScorer], pairs: Sequence[Pair], *more: Any
    ) -> list[list[Future[Scored]]]:
        if len(str(pairs[0].prompt)) > 100_000:
            self.go_on.wait(30)
        return super().submit_opened(scorers, pairs, *more)


@pytest.mark.parametrize(
    "slow",
    [
        {"scorers": ["family/other"], "items": [{"prompt": "product lamp", "response": "red"}]},
        {"scorers": ["tiny"], "items": [{"prompt": "lamp " * 50_000, "response": "red"}]},
    ],
    ids=["to be loaded", "long"],
)
def test_small_requests_wait_neither_for_models_of_others_nor_for_their_long_texts(
    published: ArtifactStore, slow: dict[str, Any]
) -> None:
    async def scenario() -> None:
        await service.score(REQUEST)
        waiting = [asyncio.create_task(service.score(ScoreRequest.model_validate(slow))) for _ in range(8)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(service.score(REQUEST), 20)
        assert not any(task.done() for task in waiting)
        Blocked.go_on.set()
        await asyncio.gather(*waiting)

    Blocked.go_on.clear()
    service = ScoringService(published, Blocked)
    asyncio.run(scenario())
    service.close()


def test_a_request_of_too_many_characters_is_refused_before_it_is_read(published: ArtifactStore) -> None:
    items = [{"prompt": "x" * 999_999, "responses": ["y"] * 8}] * 2
    service = ScoringService(published)
    with pytest.raises(InvalidInput, match="16000000 in one request") as refused:  # 1,000,000 x 8 x 2 and one more
        asyncio.run(service.score(ScoreRequest.model_validate({"scorers": ["tiny"], "items": [*items, items[0]]})))
    assert "24000000 characters" in str(refused.value)
    service.close()

"""The scoring service opens its engine in the background and never blocks the event loop."""

import asyncio
import threading

import pytest

from evaluation.engine.scoring import ScoringEngine
from service.score_schema import Reason, ScoreRequest
from service.scoring import ScoringService, answer, queue_request
from trainer.artifacts import ArtifactStore
from trainer.errors import Overloaded

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

"""Scores asked for together travel together, and each caller gets its own."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.client import AssayClient, AsyncAssayClient
from service.client.joining import MAX_JOINED_SIZE, split
from service.client.requests import Patience
from service.score_schema import (
    MAX_ITEMS,
    MAX_PAIRS,
    AnsweringScorer,
    NoScore,
    Score,
    ScoreAnswer,
    ScoreItem,
    ScoreRequest,
)
from trainer.errors import (
    AssayError,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RunFailed,
    Unauthenticated,
)


class Lengths(httpx.AsyncBaseTransport):
    """Scores a response by its length; fails a request that holds the word ``poison``."""

    def __init__(self, version: Callable[[int], int] = lambda number: 1, deleted: Sequence[int] = ()) -> None:
        """``version`` is what a name without one means in the request of that number, from 1; scores are 100 a version
        and 1 a character."""
        self.requests: list[ScoreRequest] = []
        self.broken: set[tuple[str, int]] = set()
        """Scorers that cannot be loaded in the request of that number."""
        self._version = version
        self._deleted = deleted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = ScoreRequest.model_validate_json(await request.aread())
        self.requests.append(body)
        number = len(self.requests)
        await asyncio.sleep(0.01)
        if "poison" in body.model_dump_json():
            return httpx.Response(422, json={"code": "invalid_input", "detail": "poison"})
        scorers: list[dict[str, Any]] = []
        cells: dict[str, Callable[[str], dict[str, Any]]] = {}
        for name in body.scorers:
            version = int(name.partition("@")[2].partition(":")[0] or self._version(number))
            if version in self._deleted and "@" in name:
                return httpx.Response(404, json={"code": "not_found", "detail": f"no artifact {name}"})
            if (name, number) in self.broken:
                error = {"error": {"code": "out_of_memory", "detail": "no room"}}
                scorers.append({"scorer": name} | error)
                cells[name] = lambda _, error=error: error
                continue
            scorers.append(
                {"scorer": name, "name": name.partition("@")[0], "version": version, "output": "score"}
                | {"kind": "reward_model", "orientation": "higher_is_better", "template_hash": "", "calibration": None}
                | {"pointwise": False, "contrasts": [], "prefer": None}
            )
            cells[name] = lambda response, version=version: {
                "score": 100 * (version - 1) + len(response),
                "probability": None,
                "tokens": 1,
                "truncated_tokens": 0,
            }
        items = [
            {"id": item.id, "scores": [{name: cell(r) for name, cell in cells.items()} for r in item.texts()]}
            for item in body.items
        ]
        return httpx.Response(200, json={"scorers": scorers, "items": items})


def asyncio_client(transport: Lengths, **settings: Any) -> AsyncAssayClient:
    return AsyncAssayClient("http://assay", transport=transport, patience=Patience(attempts=1), **settings)


def item(response: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "p", "response": response, **more}


def scores_of(answer: ScoreAnswer) -> list[float]:
    cells = [cell for item in answer.items for row in item.scores for cell in row.values()]
    return [cell.score for cell in cells if isinstance(cell, Score)]


def test_calls_at_about_the_same_time_travel_in_one_request_and_each_gets_its_own() -> None:
    transport = Lengths()

    async def scenario() -> list[ScoreAnswer]:
        async with asyncio_client(transport) as client:
            return await asyncio.gather(*(client.score_items(["s"], [item("x" * n)]) for n in range(1, 51)))

    answers = asyncio.run(scenario())
    assert [scores_of(answer) for answer in answers] == [[n] for n in range(1, 51)]
    assert len(transport.requests) == 1


def test_threads_join_as_well() -> None:
    transport = Lengths()

    with (
        AssayClient("http://assay", transport=transport, window_seconds=3600.0) as client,
        ThreadPoolExecutor(16) as threads,
    ):
        waiting = [threads.submit(client.score_items, ["s"], [item("x" * n)]) for n in range(1, 17)]
        joining = client._client._joining
        while sum(len(gathering.asked) for gathering in [*joining._open.values()]) < 16:
            time.sleep(0.001)
        ((manner, gathering),) = joining._open.items()
        client._loop.call_soon_threadsafe(joining._leave, manner, gathering)  # as once the window is over
        answers = [each.result() for each in waiting]
    assert [scores_of(answer) for answer in answers] == [[n] for n in range(1, 17)]
    assert len(transport.requests) == 1


def test_only_those_who_ask_the_same_of_the_same_travel_together() -> None:
    transport = Lengths()

    async def scenario() -> None:
        async with asyncio_client(transport) as client:
            await asyncio.gather(
                client.score_items(["s"], [item("a")]),
                client.score_items(["t"], [item("a")]),
                client.score_items(["s"], [item("a")], "truncate_prompt"),
                client.score_items(["s"], [item("b")]),
            )

    asyncio.run(scenario())
    sent = sorted((request.scorers[0], request.on_overlong, len(request.items)) for request in transport.requests)
    assert sent == [("s", "error", 2), ("s", "truncate_prompt", 1), ("t", "error", 1)]


def test_a_long_list_travels_in_requests_as_large_as_may_be_and_at_the_same_time() -> None:
    transport = Lengths()
    items = [item("x" * (n % 7 + 1), id=n) for n in range(2 * MAX_ITEMS + 5)]

    async def scenario() -> ScoreAnswer:
        async with asyncio_client(transport) as client:
            return await client.score_items(["s"], items)

    answer = asyncio.run(scenario())
    assert [one.id for one in answer.items] == list(range(2 * MAX_ITEMS + 5))
    assert scores_of(answer) == [n % 7 + 1 for n in range(2 * MAX_ITEMS + 5)]
    assert [len(request.items) for request in transport.requests] == [MAX_ITEMS, MAX_ITEMS, 5]


def test_parts_keep_to_every_limit_of_the_server() -> None:
    many = [ScoreItem(prompt="p", responses=["r"] * 100)] * 50
    assert [len(part) for part in split(many, 2)] == [20, 20, 10]  # 20 x 100 x 2 = 4000 of 4096 scores
    long = [ScoreItem(prompt="p" * 1_000_000, response="r")] * 20
    assert [len(part) for part in split(long, 1)] == [7, 7, 6]
    assert MAX_PAIRS == 4096


@pytest.mark.parametrize("text", ["\U0001f600" * 100_000, "\u00e9" * 100_000, "\x01" * 100_000, "\ud800" * 100_000])
def test_a_request_is_measured_in_what_it_becomes_on_the_wire(text: str) -> None:
    # 12 bytes of JSON for an emoji, 6 for any other character that is no printable ASCII
    wide = 12 if text[0] == "\U0001f600" else 6
    parts = split([ScoreItem(prompt=text, response="r")] * 20, 1)

    whole = 8_000_000 // (wide * 100_000)  # 6 and 13: the items' own brackets and names are small change
    assert [len(part) for part in parts] == [whole] * (20 // whole) + [20 % whole]
    for part in parts:
        body = ScoreRequest(scorers=["s"], items=part).model_dump(mode="json", exclude_none=True)
        assert len(json.dumps(body)) < MAX_JOINED_SIZE + 1000


def test_names_and_turns_count_as_well_as_texts() -> None:
    turns = ScoreItem.model_validate({"prompt": [{"role": "user", "content": ""}] * 1000, "response": "r"})
    assert [len(part) for part in split([turns] * 500, 1)] == [242, 242, 16]  # 33 bytes a turn, 33 kB an item


def test_a_prompt_counts_with_each_of_its_responses_and_each_scorer() -> None:
    one = ScoreItem.model_validate({"prompt": "p" * 99_999, "responses": ["r"] * 10})  # a million characters to read
    assert [len(part) for part in split([one] * 9, 1)] == [8, 1]
    assert [len(part) for part in split([one] * 9, 4)] == [2, 2, 2, 2, 1]


def test_callers_are_not_joined_to_more_than_one_request_may_have() -> None:
    transport = Lengths()

    async def scenario() -> None:
        async with asyncio_client(transport, window_seconds=0.2) as client:
            await asyncio.gather(*(client.score_items(["s"], [item("\U0001f600" * 200_000)]) for _ in range(4)))

    asyncio.run(scenario())
    assert [len(request.items) for request in transport.requests] == [3, 1]  # 2.4 MB each


def test_one_callers_fault_is_not_the_others() -> None:
    transport = Lengths()

    async def scenario() -> list[Any]:
        async with asyncio_client(transport) as client:
            calls = [client.score_items(["s"], [item(word)]) for word in ("good", "poison", "fine")]
            return await asyncio.gather(*calls, return_exceptions=True)

    good, poison, fine = asyncio.run(scenario())
    assert (scores_of(good), scores_of(fine)) == ([4], [4])
    assert isinstance(poison, InvalidInput)


class Broken(httpx.AsyncBaseTransport):
    """Fails every request in one way."""

    def __init__(self, failure: httpx.Response | Exception) -> None:
        self.tries = 0
        self._failure = failure

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tries += 1
        if isinstance(self._failure, Exception):
            raise self._failure
        return httpx.Response(self._failure.status_code, content=self._failure.content)


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "no"})


async def joined(transport: httpx.AsyncBaseTransport, callers: int) -> list[Any]:
    patience = Patience(attempts=4, pause_seconds=0.001)
    async with AsyncAssayClient("http://assay", transport=transport, patience=patience) as client:
        calls = [client.score_items(["s"], [item("x")]) for _ in range(callers)]
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    ("failure", "kind", "tries"),
    [
        (httpx.ConnectError("refused"), RunFailed, 4),
        (problem(500, "internal"), RunFailed, 4),
        (problem(503, "overloaded"), Overloaded, 4),
        (problem(504, "deadline_exceeded"), DeadlineExceeded, 4),
        (problem(401, "unauthenticated"), Unauthenticated, 1),
        (problem(429, "quota_exceeded"), QuotaExceeded, 4),
    ],
)
def test_a_failure_that_is_nobodys_fault_is_told_to_all_who_joined_without_asking_for_each(
    failure: httpx.Response | Exception, kind: type[AssayError], tries: int
) -> None:
    transport = Broken(failure)

    told = asyncio.run(joined(transport, 64))
    assert [type(error) for error in told] == [kind] * 64
    assert transport.tries == tries


@pytest.mark.parametrize(
    "failure",
    [
        problem(422, "invalid_input"),
        problem(422, "overlong_input"),
        problem(404, "not_found"),
        problem(409, "broken_artifact"),
        problem(413, "request_entity_too_large"),
        httpx.Response(413, text="<html>"),
    ],
)
def test_what_may_be_the_fault_of_ones_content_is_asked_for_each(failure: httpx.Response) -> None:
    transport = Broken(failure)

    asyncio.run(joined(transport, 8))
    assert transport.tries == 1 + 8


async def of_three_parts(transport: Lengths, scorers: Sequence[str]) -> ScoreAnswer:
    items = [item("x" * (n % 7 + 1), id=n) for n in range(2 * MAX_ITEMS + 5)]
    async with asyncio_client(transport, max_requests=1) as client:  # one after the other
        return await client.score_items(scorers, items)


def of_three_parts_by_threads(transport: Lengths, scorers: Sequence[str]) -> ScoreAnswer:
    items = [item("x" * (n % 7 + 1), id=n) for n in range(2 * MAX_ITEMS + 5)]
    patience = Patience(attempts=1)
    with AssayClient("http://assay", transport=transport, patience=patience, max_requests=1) as client:
        return client.score_items(scorers, items)


LENGTHS = [n % 7 + 1 for n in range(2 * MAX_ITEMS + 5)]


@pytest.mark.parametrize("threads", [False, True], ids=["async", "sync"])
def test_all_parts_of_a_call_meet_the_version_that_the_first_met(threads: bool) -> None:
    transport = Lengths(version=lambda number: 1 if number == 1 else 2)  # the alias moves behind the first part

    answer = of_three_parts_by_threads(transport, ["s"]) if threads else asyncio.run(of_three_parts(transport, ["s"]))

    assert scores_of(answer) == LENGTHS  # of version 1; version 2 gives 100 more
    assert [one.id for one in answer.items] == list(range(2 * MAX_ITEMS + 5))
    assert [(one.scorer, one.version) for one in answer.scorers if isinstance(one, AnsweringScorer)] == [("s", 1)]
    sent = [(request.scorers, len(request.items)) for request in transport.requests]
    assert sent == [
        (["s"], MAX_ITEMS),
        (["s"], MAX_ITEMS),
        (["s"], 5),
        (["s@1:score"], MAX_ITEMS),
        (["s@1:score"], 5),
    ]


def test_where_nothing_moves_nothing_is_asked_twice() -> None:
    transport = Lengths(version=lambda number: 3)
    assert scores_of(asyncio.run(of_three_parts(transport, ["s"]))) == [200 + length for length in LENGTHS]
    assert len(transport.requests) == 3


def test_a_version_that_is_named_beside_the_name_that_moves_is_asked_for_once() -> None:
    transport = Lengths(version=lambda number: min(number, 2))
    answer = asyncio.run(of_three_parts(transport, ["s", "s@1", "s@2"]))

    cells = [cell for item in answer.items for row in item.scores for cell in row.values() if isinstance(cell, Score)]
    assert [cell.score for cell in cells] == [score for n in LENGTHS for score in (n, n, 100 + n)]
    assert {tuple(row) for item in answer.items for row in item.scores} == {("s", "s@1", "s@2")}
    assert transport.requests[-1].scorers == ["s@1:score", "s@2:score"]


def test_a_version_that_is_deleted_on_the_way_is_not_papered_over() -> None:
    transport = Lengths(version=lambda number: number, deleted=[1])
    with pytest.raises(Conflict, match="what s stands for changed during the request; name a version"):
        asyncio.run(of_three_parts(transport, ["s"]))


def test_a_scorer_that_cannot_answer_one_part_is_missing_there_and_named_for_the_others() -> None:
    transport = Lengths()
    transport.broken = {("s", 1)}
    answer = asyncio.run(of_three_parts(transport, ["s", "t"]))

    assert [type(one) for one in answer.scorers] == [AnsweringScorer, AnsweringScorer]
    first = [row["s"] for item in answer.items[:MAX_ITEMS] for row in item.scores]
    assert {cell.error.code for cell in first if isinstance(cell, NoScore)} == {"out_of_memory"}
    assert not any(isinstance(cell, Score) for cell in first)
    later = [row["s"] for item in answer.items[MAX_ITEMS:] for row in item.scores]
    assert all(isinstance(cell, Score) for cell in later)
    assert len(transport.requests) == 3


def test_calls_of_others_that_joined_the_same_requests_keep_their_names() -> None:
    transport = Lengths(version=lambda number: number)

    async def scenario() -> list[ScoreAnswer]:
        async with asyncio_client(transport, max_requests=1, window_seconds=0.05) as client:
            long = client.score_items(["s"], [item("x")] * (MAX_ITEMS + 1))
            return await asyncio.gather(long, client.score_items(["s"], [item("yy")]))

    long, short = asyncio.run(scenario())
    assert scores_of(long) == [1] * (MAX_ITEMS + 1)  # all by version 1
    assert scores_of(short) == [102]  # with the second part, by version 2, as it was asked
    assert [one.scorer for one in (*long.scorers, *short.scorers)] == ["s", "s"]


def test_whoever_goes_away_is_not_asked_for() -> None:
    transport = Lengths()

    async def scenario() -> None:
        async with asyncio_client(transport, window_seconds=0.05) as client:
            leaving = asyncio.create_task(client.score_items(["s"], [item("leaving")]))
            staying = asyncio.create_task(client.score_items(["s"], [item("staying")]))
            await asyncio.sleep(0)  # both have asked, and no window is over before the loop turns again
            leaving.cancel()
            assert scores_of(await staying) == [7]

    asyncio.run(scenario())
    assert [[one.response for one in request.items] for request in transport.requests] == [["staying"]]


def test_a_request_that_nobody_waits_for_any_more_ends_and_makes_room() -> None:
    class Stuck(Lengths):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if b"stuck" in request.content:
                stuck.set()
                await asyncio.sleep(3600)
            return answer

    async def scenario() -> None:
        async with asyncio_client(Stuck(), max_requests=1) as client:
            waiting = asyncio.create_task(client.score_items(["s"], [item("stuck")]))
            await stuck.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert scores_of(await asyncio.wait_for(client.score_items(["s"], [item("free")]), 60)) == [4]

    stuck = asyncio.Event()

    asyncio.run(scenario())


class Silent(httpx.AsyncBaseTransport):
    """Never answers, and tells that it was asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits this long")


def test_closing_ends_what_is_under_way() -> None:
    async def scenario() -> None:
        server = Silent()
        client = AsyncAssayClient("http://assay", transport=server)
        waiting = asyncio.create_task(client.score_items(["s"], [item("x")]))
        await server.asked.wait()
        await client.close()
        with pytest.raises(RunFailed, match="this client was closed"):
            await asyncio.wait_for(waiting, 60)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("scorers", "items", "pointer"),
    [
        (["s"], [], "/items"),
        (["s"], [item("x"), {"prompt": "p"}], "/items/1"),
        (["s"], [{"prompt": 3, "response": "r"}], "/items/0/prompt"),
        ([], [item("x")], "/scorers"),
        (["a b"], [item("x")], "/scorers/0"),
    ],
)
def test_a_wrong_call_points_at_what_is_wrong(scorers: list[str], items: list[Any], pointer: str) -> None:
    with AssayClient("http://assay", transport=Lengths()) as client, pytest.raises(InvalidInput) as raised:
        client.score_items(scorers, items)
    assert raised.value.pointer == pointer


def test_against_a_real_server_joined_scores_are_those_of_requests_of_their_own(
    serve: Callable[[Any], str], scoring_routes: FastAPI
) -> None:
    responses = ["The lamp is red .", "It is blue .", "\ud800", "the color is red ."]
    with AssayClient(serve(scoring_routes), window_seconds=0.1) as client, ThreadPoolExecutor(8) as threads:
        alone = [client.post("/v1/scores", {"scorers": ["tiny"], "items": [item(r)]})["items"] for r in responses]
        joined = list(threads.map(lambda r: client.score_items(["tiny"], [ScoreItem(**item(r))]), responses))
        with pytest.raises(NotFound, match="no artifact nobody"):
            client.score_items(["nobody"], [item("r")])

    for (by_itself,), together in zip(alone, joined, strict=True):
        found = json.loads(together.items[0].model_dump_json())
        ours, theirs = found["scores"][0]["tiny"], by_itself["scores"][0]["tiny"]
        assert ours.get("error") == theirs.get("error")
        assert ours.get("score", 0) == pytest.approx(theirs.get("score", 0), abs=1e-4)

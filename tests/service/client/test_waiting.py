"""Closing a client ends the calls of every thread, whatever they wait for, and no call slips past it."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from service.client import AssayClient, AsyncAssayClient
from service.client.requests import Patience
from trainer.errors import RunFailed

ITEMS = [{"prompt": "p", "response": "r"}]


class Full(httpx.AsyncBaseTransport):
    """Has no room, ever, and says at once that somebody asked."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        return httpx.Response(503, json={"code": "overloaded", "detail": "full"})


class Silent(Full):
    """Never answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits this long")


class Quick(httpx.AsyncBaseTransport):
    """Answers at once that there is nothing."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": []})


def patient(transport: httpx.AsyncBaseTransport, window_seconds: float = 0.0) -> AssayClient:
    patience = Patience(pause_seconds=3600.0, longest_pause_seconds=3600.0, retry_seconds=36000.0)
    return AssayClient("http://assay", transport=transport, patience=patience, window_seconds=window_seconds)


def in_a_thread(call: Callable[[], Any]) -> "Future[Any]":
    """What becomes of it; a thread that never ends ends with the process."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def answered_or_told(call: "Future[Any]") -> None:
    error = call.exception(timeout=60)
    assert error is None or (isinstance(error, RunFailed) and "this client was closed" in error.detail)


@pytest.mark.parametrize("transport", [Full, Silent])
@pytest.mark.parametrize("call", [lambda client: client.scorers(), lambda client: client.score_items(["s"], ITEMS)])
def test_closing_ends_a_pause_between_tries_and_a_request_without_an_answer(
    transport: type[Full], call: Callable[[AssayClient], Any]
) -> None:
    server = transport()
    client = patient(server)
    waiting = in_a_thread(lambda: call(client))
    assert server.asked.wait(60)

    in_a_thread(client.close).result(timeout=60)
    with pytest.raises(RunFailed, match="this client was closed"):
        waiting.result(timeout=60)


def test_closing_ends_scores_that_still_wait_for_others_to_travel_with() -> None:
    server = Full()
    client = patient(server, window_seconds=3600.0)
    waiting = [in_a_thread(lambda: client.score_items(["s"], ITEMS)) for _ in range(3)]
    while sum(len(gathering.asked) for gathering in [*client._client._joining._open.values()]) < 3:
        time.sleep(0.001)

    in_a_thread(client.close).result(timeout=60)
    for one in waiting:
        with pytest.raises(RunFailed, match="this client was closed"):
            one.result(timeout=60)
    assert not server.asked.is_set()


def test_scores_that_wait_in_an_event_loop_are_told_of_the_closing_and_not_cancelled() -> None:
    async def scenario() -> None:
        client = AsyncAssayClient("http://assay", transport=Full(), window_seconds=3600.0)
        waiting = asyncio.create_task(client.score_items(["s"], ITEMS))
        await asyncio.sleep(0)
        await client.close()
        for call in (waiting, client.scorers()):
            with pytest.raises(RunFailed, match="this client was closed"):
                await asyncio.wait_for(call, 60)

    asyncio.run(scenario())


def test_scores_whose_request_was_about_to_leave_are_told_as_well() -> None:
    async def scenario() -> None:
        client = AsyncAssayClient("http://assay", transport=Full(), window_seconds=3600.0)
        waiting = asyncio.create_task(client.score_items(["s"], ITEMS))
        await asyncio.sleep(0)
        ((manner, gathering),) = client._joining._open.items()
        client._joining._leave(manner, gathering)
        await client.close()
        with pytest.raises(RunFailed, match="this client was closed"):
            await asyncio.wait_for(waiting, 60)

    asyncio.run(scenario())


def test_no_call_slips_in_between_the_look_whether_the_client_is_open_and_its_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = patient(Quick())
    closings: list[Future[Any]] = []
    submit = asyncio.run_coroutine_threadsafe

    def late(*arguments: Any) -> Any:
        if not closings:
            closings.append(in_a_thread(client.close))
            time.sleep(0.2)  # it ends in this time unless something holds it back
        return submit(*arguments)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", late)
    answered_or_told(in_a_thread(client.scorers))
    closings[0].result(timeout=60)


def test_threads_that_call_while_others_close_are_all_answered_or_told() -> None:
    for _ in range(10):
        client = patient(Quick())
        calls = [in_a_thread(client.scorers) for _ in range(8)]
        closings = [in_a_thread(client.close) for _ in range(2)]
        calls += [in_a_thread(client.scorers) for _ in range(8)]
        for closing in closings:
            closing.result(timeout=60)
        for call in calls:
            answered_or_told(call)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_may_close_what_it_cannot_use() -> None:
    with patient(Quick()) as client:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                client.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert client.scorers() == []

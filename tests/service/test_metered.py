"""Scoring on behalf of one caller ends with the caller."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from fastapi import Request
from starlette.types import Message

from evaluation.engine.line import Place, WaitingLine
from evaluation.engine.scoring import ScoringEngine
from evaluation.engine.terms import Terms
from service.access import Caller
from service.app import create_app
from service.logs import ACCESS
from service.metered import MeteredScoring
from service.score_schema import ScoreAnswer, ScoreRequest
from service.scoring import ScoringService
from service.security.keys import Key, Quota
from service.security.quotas import Quotas
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import Overloaded


class FullEngine:
    """Its line has room for one pair and none to spare."""

    def __init__(self) -> None:
        self.line = WaitingLine(1)
        self.line.reserve(1)

    def reserve(self, scorers: list[str], pairs: int, terms: Terms) -> Place:
        return self.line.reserve(pairs, terms.hold_seconds)

    def close(self) -> None:
        self.line.close()


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def test_clients_that_hang_up_give_their_places_back(
    settings: Settings, serve: Callable[[Any], str], caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 0, "compat_scorer": "tiny"}))
    engine = FullEngine()
    app.state.scoring = ScoringService(ArtifactStore(settings.artifact_dir), lambda _: cast(ScoringEngine, engine))
    address = urlsplit(serve(app))
    body = json.dumps({"query": ["a lamp"], "prompts": ["a "]}).encode()
    head = f"POST /get_reward HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    clients = [socket.create_connection((str(address.hostname), address.port or 0)) for _ in range(3)]
    with caplog.at_level(logging.INFO, ACCESS.name):
        for client in clients:
            client.sendall(head.encode() + b"\r\n\r\n" + body)
        assert eventually(lambda: engine.line.held_pairs == 3)

        for client in clients:
            client.close()

        assert eventually(lambda: engine.line.held_pairs == 0)
        assert eventually(lambda: len(caplog.records) >= 3)
    assert [record.__dict__["fields"]["status"] for record in caplog.records] == [499, 499, 499]  # and no other words


class Refusing:
    async def score(self, request: ScoreRequest, terms: Terms) -> ScoreAnswer:
        raise Overloaded("8192 pairs already wait to be scored; try again in a moment")


def test_a_full_queue_stays_a_full_queue_however_often_the_same_pairs_are_sent_again() -> None:
    async def connected() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    now = datetime(2030, 1, 1, tzinfo=UTC)
    key = Key("key_1", "me", "assay_key_1", "0" * 64, frozenset({"score"}), Quota(pairs=2), now, None, None, None)
    state = SimpleNamespace(
        scoring=Refusing(),
        keyring=SimpleNamespace(quotas=Quotas()),
        metrics=SimpleNamespace(scores=None),
        sampler=None,
    )
    scope = {"type": "http", "app": SimpleNamespace(state=state), "state": {"caller": Caller(key)}}
    metered = MeteredScoring(Request(scope, connected))
    request = ScoreRequest.model_validate(
        {"scorers": ["tiny"], "items": [{"prompt": "a lamp", "responses": ["red", "blue"]}]}
    )
    for _ in range(5):
        with pytest.raises(Overloaded):
            asyncio.run(metered.score(request))

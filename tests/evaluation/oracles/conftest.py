"""A real HTTP server that speaks the chat protocol and does what a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.loopback import Handler, serving


@dataclass(frozen=True)
class Answer:
    """``cut`` sends half of the body and hangs up."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def says(text: str | None, usage: dict[str, int] | None = USAGE) -> Answer:
    """A completion with this text."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Answer(200, json.dumps({"choices": [choice], "usage": usage}))


@dataclass
class JudgeServer:
    """What it was asked, in order, and what it does."""

    base_url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    behave: Callable[[int, str], Answer] = lambda number, text: says("Rating: 5")
    """The answer to request ``number`` (from 0), whose message is ``text``."""

    says = staticmethod(says)
    answer = Answer

    def take(self, body: dict[str, Any], key: str | None) -> Answer:
        self.asked.append(body)
        self.keys.append(key)
        return self.behave(len(self.asked) - 1, body["messages"][0]["content"])


@pytest.fixture
def judge_server() -> Iterator[JudgeServer]:
    state, lock = JudgeServer(), threading.Lock()

    class Judging(Handler):
        def get(self) -> None:
            self.send(Answer(200, '{"data": []}'))

        def post(self, body: bytes) -> None:
            with lock:
                answer = state.take(json.loads(body), self.headers.get("Authorization"))
            self.send(answer)

        def send(self, answer: Answer) -> None:
            content = answer.body.encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if answer.cut else content)

    with serving(Judging) as address:
        state.base_url = f"{address}/v1"
        yield state

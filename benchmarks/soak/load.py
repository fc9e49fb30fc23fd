"""Ten times the load a server can bear, from all sides at once, and an account of every single answer.

At the same time: requests of many pairs at a fixed rate, whether or not the last were answered; clients that go away
in the middle; an alias moved to and fro; models loaded and unloaded; and somebody who looks how the server is.
"""

import asyncio
import contextlib
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

PAIRS = 20
"""Of one request."""
PROMPTS = {
    "tiny": ("product lamp",),
    "talker": tuple(f"product {what} | " + "color red ; size tiny ; " * 8 for what in ("lamp", "mug", "chair")),
}
"""Of each scorer. ``talker`` is a decoder, whose prompts are long enough to be read once for many responses."""
WORDS = ("lamp", "red", "blue", "size", "color", "is")
RESPONSES = tuple(" ".join(words) for words in product(WORDS, repeat=4))
"""Many, since equal pairs that wait together are scored once."""

SOME_RESPONSES = RESPONSES[::36]
"""Of ``talker``, so that what it should give can be computed one by one."""
SCORERS = ("tiny@live", "tiny@1", "tiny@2", "talker")

Expected = Mapping[tuple[str, str, str], float]
"""By ``NAME@VERSION``, prompt and response."""


@dataclass
class Account:
    """What happened."""

    answers: Counter[str] = field(default_factory=Counter)
    """By what was asked and the status it got; transport failures by their name."""
    cells: Counter[str] = field(default_factory=Counter)
    """Of scores: ``score``, or the code of the error in its place."""
    wrong: list[str] = field(default_factory=list)
    """Answers that are not what they should be, in words."""
    left: int = 0
    """Clients that went away."""
    longest_seconds: float = 0.0
    """Of a request for scores."""
    deepest: float = 0.0
    """Pairs in the line, as the server's metrics say."""
    behind_prompts: float = 0.0
    """Pairs whose prompt was read for another."""
    beats: list[float] = field(default_factory=list)
    """Seconds that /livez took: the event loop's lag is in them, and this process's own."""
    lags: list[float] = field(default_factory=list)
    """Seconds by which this process's own event loop was late at the same time."""
    resident: list[tuple[float, float]] = field(default_factory=list)
    """The server's memory: seconds since the beginning, MB."""

    @property
    def growth(self) -> float:
        """Of the server's memory in MB a minute, by least squares over the last two thirds of the time."""
        later = self.resident[len(self.resident) // 3 :]
        return 60 * statistics.linear_regression([at for at, _ in later], [memory for _, memory in later]).slope

    def tell(self) -> None:
        """Print it for people."""
        print("answers:", ", ".join(f"{what} {count}" for what, count in sorted(self.answers.items())))
        print("scores and the errors in their place:", dict(self.cells), "clients that went away:", self.left)
        print(f"longest request {self.longest_seconds:.1f} s, at most {self.deepest:.0f} pairs in the line")
        print(f"{self.behind_prompts:.0f} pairs stood behind a prompt that was read for another")
        for what, seconds in (("livez", self.beats), ("lag of the clients' own loop", self.lags)):
            print(f"{what}: median {1000 * statistics.median(seconds):.0f} ms, at most {1000 * max(seconds):.0f} ms")
        memory = [megabytes for _, megabytes in self.resident]
        print(f"memory from {memory[0]:.0f} to {memory[-1]:.0f} MB, {self.growth:+.2f} MB a minute")
        print("wrong:", self.wrong[:5] or "nothing", flush=True)


class Load:
    """Everybody who asks one server."""

    def __init__(self, url: str, headers: dict[str, str], pid: int, expected: Expected) -> None:
        self.account = Account()
        self._url = url
        self._headers = headers
        self._process = psutil.Process(pid)
        self._expected = expected
        self._draw = random.Random(0)
        self._until = 0.0

    async def run(self, seconds: float, requests_a_second: float) -> Account:
        """Ask for so long; returns when the last request was answered.

        All that is due in the time is asked, by a client that was held up all at once.
        """
        began = time.monotonic()
        self._until = began + seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        async with (
            httpx.AsyncClient(
                base_url=self._url, headers=self._headers, limits=limits, timeout=120, trust_env=False
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._flood(client, group, round(seconds * requests_a_second), requests_a_second))
            for every, what in [
                (0.1, self._go_away),
                (0.3, lambda: self._move_alias(client)),
                (0.4, lambda: self._swap_models(client)),
                (0.2, lambda: self._look(client, began)),
            ]:
                group.create_task(self._again_and_again(every, what))
        return self.account

    async def _again_and_again(self, every: float, what: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < self._until:
            await what()
            await asyncio.sleep(every)

    async def _flood(
        self, client: httpx.AsyncClient, group: asyncio.TaskGroup, requests: int, requests_a_second: float
    ) -> None:
        due = time.monotonic()
        for _ in range(requests):
            group.create_task(self.ask(client, self._draw.choice(SCORERS)))
            due += 1 / requests_a_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def ask(self, client: httpx.AsyncClient, scorer: str) -> None:
        """Ask for scores and check every one of them."""
        name = scorer.partition("@")[0]
        prompt = self._draw.choice(PROMPTS[name])
        responses = self._draw.choices(RESPONSES if name == "tiny" else SOME_RESPONSES, k=PAIRS)
        items: list[dict[str, object]] = [{"prompt": prompt, "response": each} for each in responses]
        if self._draw.random() < 0.5:
            items = [{"prompt": prompt, "responses": responses}]
        started = time.monotonic()
        answer = await self._sent("scores", client.post("/v1/scores", json={"scorers": [scorer], "items": items}))
        self.account.longest_seconds = max(self.account.longest_seconds, time.monotonic() - started)
        if answer is None:
            return
        if answer.status_code == 503 and "retry-after" in answer.headers:
            return
        if answer.status_code != 200:
            self.account.wrong.append(f"scores: {answer.status_code} {answer.text[:200]}")
            return
        self._check(scorer, prompt, responses, answer.json())

    def _check(self, scorer: str, prompt: str, responses: Sequence[str], found: dict[str, Any]) -> None:
        by = "{name}@{version}".format_map(found["scorers"][0])
        if scorer not in {by, by.partition("@")[0], "tiny@live"}:
            self.account.wrong.append(f"{scorer} was answered by {by}")
        rows = [row for item in found["items"] for row in item["scores"]]
        for response, row in zip(responses, rows, strict=True):
            cell, expected = row[scorer], self._expected[by, prompt, response]
            self.account.cells[cell["error"]["code"] if "error" in cell else "score"] += 1
            if "score" in cell and abs(cell["score"] - expected) > 1e-4:
                self.account.wrong.append(f"{scorer} gave {cell['score']}, not {expected}")

    async def _go_away(self) -> None:
        """Send a request, or half of one, and hang up without an answer."""
        where = urlsplit(self._url)
        name = self._draw.choice(list(PROMPTS))
        item = {"prompt": PROMPTS[name][0], "responses": self._draw.choices(RESPONSES, k=PAIRS)}
        body = json.dumps({"scorers": [name], "items": [item]}).encode()
        lines = ["POST /v1/scores HTTP/1.1", f"host: {where.netloc}", "content-type: application/json"]
        lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in self._headers.items())]
        sent = "\r\n".join([*lines, "", ""]).encode() + body
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(sent[: self._draw.choice([len(sent), len(sent), len(sent) - 9])])
            await writer.drain()
            await asyncio.sleep(self._draw.uniform(0, 0.2))
            writer.transport.abort()
            self.account.left += 1

    async def _move_alias(self, client: httpx.AsyncClient) -> None:
        version = self._draw.choice([1, 2])
        moved = await self._sent("alias", client.put("/v1/aliases/tiny@live", json={"version": version}))
        if moved is not None and moved.status_code != 200:
            self.account.wrong.append(f"alias: {moved.status_code} {moved.text[:200]}")

    async def _swap_models(self, client: httpx.AsyncClient) -> None:
        which, what = self._draw.choice(["tiny@1", "tiny@2", "talker@1"]), self._draw.choice(["load", "unload"])
        swapped = await self._sent(what, client.post(f"/v1/artifacts/{which}/{what}"))
        if swapped is not None and swapped.status_code not in {200, 404}:  # 404: it is not loaded
            self.account.wrong.append(f"{what}: {swapped.status_code} {swapped.text[:200]}")

    async def _look(self, client: httpx.AsyncClient, began: float) -> None:
        started = time.monotonic()
        await asyncio.sleep(0.01)
        self.account.lags.append(time.monotonic() - started - 0.01)
        started = time.monotonic()
        await self._sent("livez", client.get("/livez"))
        self.account.beats.append(time.monotonic() - started)
        metrics = await self._sent("metrics", client.get("/metrics"))
        if metrics is not None:
            depth = [line for line in metrics.text.splitlines() if line.startswith("assay_queue_depth ")]
            self.account.deepest = max([self.account.deepest, *(float(line.split()[1]) for line in depth)])
        memory = self._process.memory_info().rss / 2**20
        self.account.resident.append((time.monotonic() - began, memory))

    async def _sent(self, what: str, sending: Awaitable[httpx.Response]) -> httpx.Response | None:
        try:
            answer = await sending
        except httpx.HTTPError as error:
            self.account.answers[f"{what} {type(error).__name__}"] += 1
            self.account.wrong.append(f"{what}: no answer ({type(error).__name__})")
            return None
        self.account.answers[f"{what} {answer.status_code}"] += 1
        return answer

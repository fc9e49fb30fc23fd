"""Scores over HTTP: our server against our own engine without HTTP, a naive server, and Infinity.

    python -m benchmarks.serving throughput [--encoder DIRECTORY] [--data FILE.jsonl.gz] [--infinity COMMAND]
    python -m benchmarks.serving latency

Every server is a process of its own, ``assay serve`` as it is installed, and so is the benchmark, which runs the engine
for the offline side, every model on one thread. All of them are kept to the first core and the clients to the others,
so that nobody gets a second core by having threads; with ``--as-they-come`` nothing is kept to a core and every process
has PyTorch's own number of threads, which is what a server that nobody tuned does. ``throughput``: ``--clients``
connections send one pair each, again and again, until all pairs are scored. ``latency``: one client sends a pair to the
idle server, and the same pair is encoded and read by the bare model. Sides take turns in each round and medians are
compared: by the clock, and of processor seconds of the side's process, which other work on the machine does not reach.
``--infinity`` is the command ``infinity_emb`` of an environment where ``infinity-emb[torch,server]`` is installed; its
route is ``/rerank`` with one document.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import torch

from benchmarks.scoring import CPU, cut, encoder, published, scores, texts
from evaluation.engine.scoring import Pair, ScoringEngine
from trainer.artifacts import ArtifactStore
from trainer.models.reward_model import RewardModel

CORES = os.sched_getaffinity(0)
SERVERS = {min(CORES)}
"""The cores that every process but the clients is kept to."""
CERTIFICATES = ssl.create_default_context()
"""Made once: nobody asks for them here, and each of 64 clients would spend 20 ms on its own while servers
have nothing to do."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class Side:
    """One way to score pairs: how, and whose processor seconds count."""

    score: Callable[[Sequence[Pair]], list[float]]
    process: psutil.Process

    def measured(self, pairs: Sequence[Pair]) -> tuple[list[float], float, float]:
        """The scores, seconds by the clock, processor seconds."""
        before, started = self.process.cpu_times(), time.perf_counter()
        found = self.score(pairs)
        seconds, after = time.perf_counter() - started, self.process.cpu_times()
        return found, seconds, after.user + after.system - before.user - before.system


@dataclass(frozen=True)
class Wire:
    """How a server is asked for one pair's score."""

    path: str
    body: Callable[[Pair], object]
    read: Callable[[object], float]


ASSAY = Wire(
    "/v1/scores",
    lambda pair: {"scorers": ["rm"], "items": [{"prompt": pair.prompt, "response": pair.response}]},
    lambda answer: answer["items"][0]["scores"][0]["rm"]["score"],  # type: ignore[index]
)
NAIVE = Wire(
    "/score",
    lambda pair: {"prompt": pair.prompt, "response": pair.response},
    lambda answer: answer["score"],  # type: ignore[index]
)
INFINITY = Wire(
    "/rerank",
    lambda pair: {"model": "rm", "query": pair.prompt, "documents": [pair.response], "raw_scores": True},
    lambda answer: answer["results"][0]["relevance_score"],  # type: ignore[index]
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time scores over HTTP")
    parser.add_argument("what", choices=["throughput", "latency"])
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--infinity", type=Path)
    parser.add_argument("--as-they-come", action="store_true")
    asked = parser.parse_args()
    if asked.as_they_come:
        SERVERS.update(CORES)
        os.environ.pop("OMP_NUM_THREADS", None)
    else:
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, SERVERS)  # whatever thread or process is started from here on stays there
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "encoder"
        model, tokenizer = encoder(asked.encoder, directory)
        if asked.encoder is not None:  # as it was: older versions of transformers read it too
            for name in TOKENIZER_FILES:
                shutil.copy(asked.encoder / name, directory / name)
        pairs = [cut(tokenizer, pair, asked.window) for pair in texts(asked.data, asked.pairs)]
        store = published(Path(place) / "artifacts", model, tokenizer, asked.window)
        if asked.what == "throughput":
            throughput(directory, store, pairs, asked.rounds, asked.clients, asked.infinity)
        else:
            bare = RewardModel(model, tokenizer, architecture="encoder", pooling="cls", max_tokens=asked.window)
            latency(bare, store, pairs, asked.rounds)


def throughput(
    directory: Path, store: ArtifactStore, pairs: list[Pair], rounds: int, clients: int, infinity: Path | None
) -> None:
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(ScoringEngine(store, CPU))
        own = psutil.Process()
        sides = {"our engine, without HTTP": Side(lambda pairs: scores(engine, pairs), own)}

        def over_http(name: str, wire: Wire, server: tuple[str, psutil.Process]) -> None:
            sides[name] = Side(lambda pairs: asyncio.run(asked_by(clients, server[0], wire, pairs)), server[1])

        over_http("our server", ASSAY, stack.enter_context(assay(store)))
        naive = [sys.executable, "-m", "benchmarks.naive_server", str(directory)]
        over_http("a naive server", NAIVE, stack.enter_context(other(naive, "/docs")))
        if infinity is not None:
            command = [str(infinity), "v2", "--model-id", str(directory), "--served-model-name"]
            command += ["rm", "--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"]
            command += ["--no-model-warmup", "--port"]
            over_http("Infinity", INFINITY, stack.enter_context(other(command, "/health")))
        expected = sides["our engine, without HTTP"].score(pairs)
        for name, side in sides.items():
            worst = max(abs(a - b) for a, b in zip(expected, side.score(pairs), strict=True))  # which also warms up
            print(f"{name:28} differs by at most {worst:.1e}", flush=True)
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                spent[name].append(side.measured(pairs)[1:])
    report(spent, len(pairs))


def report(spent: dict[str, list[tuple[float, float]]], pairs: int) -> None:
    ours = spent["our server"]
    for name, seconds in spent.items():
        clock = [theirs[0] / mine[0] for theirs, mine in zip(seconds, ours, strict=True)]
        processor = [theirs[1] / mine[1] for theirs, mine in zip(seconds, ours, strict=True)]
        print(
            f"{name:28}{pairs / statistics.median(each[0] for each in seconds):8.1f} pairs/s by the clock,"
            f" {pairs / statistics.median(each[1] for each in seconds):8.1f} a processor second; our server"
            f" {statistics.median(clock):.2f} times as fast ({min(clock):.2f} to {max(clock):.2f}) and"
            f" {statistics.median(processor):.2f} ({min(processor):.2f} to {max(processor):.2f})",
            flush=True,
        )


def latency(bare: RewardModel, store: ArtifactStore, pairs: list[Pair], rounds: int) -> None:
    """What HTTP, the service and the engine add to encoding and reading one pair, by the clock."""
    added, alone = [], []
    with assay(store) as (url, _), elsewhere():
        address = httpx.URL(url)
        client = http.client.HTTPConnection(address.host, address.port)
        for pair in [*pairs[:8], *pairs * rounds]:
            body = json.dumps(ASSAY.body(pair))
            started = time.perf_counter()
            bare.score([bare.encode(pair.prompt, pair.response)])
            between = time.perf_counter()
            client.request("POST", ASSAY.path, body, {"content-type": "application/json"})
            answer = client.getresponse()
            ASSAY.read(json.loads(answer.read()))
            ended = time.perf_counter()
            added.append(1000 * ((ended - between) - (between - started)))
            alone.append(1000 * (between - started))
    quartiles = statistics.quantiles(added[8:], n=4)
    print(
        f"added to {statistics.median(alone[8:]):.1f} ms: median {quartiles[1]:.2f} ms ({quartiles[0]:.2f} to"
        f" {quartiles[2]:.2f}) over {len(added) - 8} requests"
    )


async def asked_by(clients: int, url: str, wire: Wire, pairs: Sequence[Pair]) -> list[float]:
    """The pairs' scores, each asked for by one of so many clients, who have one request under way each."""
    left = iter(range(len(pairs)))
    found = [0.0] * len(pairs)

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False, verify=CERTIFICATES) as client:
            for i in left:
                answer = await client.post(wire.path, json=wire.body(pairs[i]))
                answer.raise_for_status()
                found[i] = wire.read(answer.json())

    with elsewhere():
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(ask())
    return found


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """This thread on other cores than the servers'."""
    os.sched_setaffinity(0, CORES - SERVERS or CORES)
    yield
    os.sched_setaffinity(0, SERVERS)


@contextlib.contextmanager
def assay(store: ArtifactStore) -> Iterator[tuple[str, psutil.Process]]:
    """``assay serve`` over ``store``, its models loaded by the first who asks."""
    with tempfile.TemporaryDirectory() as place:
        environment = {"ASSAY_ARTIFACT_DIR": str(store.root.resolve()), "ASSAY_JOB_SLOTS": "0", "ASSAY_PINNED": "rm"}
        environment["ASSAY_DATABASE_URL"] = f"sqlite:///{place}/assay.db"
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
        with started(command, environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            url = process.stdout.readline().decode().split()[3]
            answers(url, "/readyz")
            yield url, psutil.Process(process.pid)


@contextlib.contextmanager
def other(command: list[str], path: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server that takes its port as the last argument and answers at ``path`` once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with started([*command, str(port)], {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}, None) as process:
        answers(url, path)
        yield url, psutil.Process(process.pid)


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str], stdout: int | None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=stdout)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str, path: str) -> None:
    """Wait until a server answers."""
    for _ in range(1200):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url + path, trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise SystemExit(f"no answer from {url}{path}")


if __name__ == "__main__":
    main()

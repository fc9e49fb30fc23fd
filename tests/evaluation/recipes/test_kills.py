"""A stress test that is killed, however often and wherever, ends with the files of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from trainer.artifacts import ArtifactStore
from trainer.run import read_result

STORED = ("prompts.jsonl", "responses.jsonl", "scores.jsonl")
DERIVED = ("correlations.jsonl", "curves.jsonl", "comparisons.jsonl")
FILES = (*STORED, *DERIVED)
RECIPE: dict[str, Any] = {
    "kind": "stress_test",
    "name": "killed",
    "policy": {"path": "policy"},
    "prompts": {"kind": "product_world", "limit": 28},
    "temperatures": [0, 1.0, 2.0],
    "responses_per_prompt": 20,
    "max_response_tokens": 16,
    "scorers": ["rm", "policy/discriminator:difference"],
    "oracles": [{"kind": "product_world"}, {"kind": "product_world", "measure": "share"}],
    "bootstrap": {"draws": 100},
}

# imports once and forks a real process per run: each line of input is the arguments of one
FORKER = """
import os, sys
from transformers import BertForSequenceClassification, LlamaForCausalLM
from evaluation.__main__ import main
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(main(line.split()))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", FORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def start(forker: subprocess.Popen[str], arguments: str) -> int:
    assert forker.stdin is not None
    forker.stdin.write(arguments + "\n")
    forker.stdin.flush()
    return answer(forker)


def answer(forker: subprocess.Popen[str]) -> int:
    assert forker.stdout is not None
    return int(forker.stdout.readline())


def test_killed_at_any_moment_it_loses_nothing_and_repeats_nothing(
    forker: subprocess.Popen[str], store: ArtifactStore, tmp_path: Path
) -> None:
    expected = tmp_path / "expected"
    run_undisturbed(forker, store, expected)

    assert kill_until_done(forker, store, tmp_path / "killed", expected, random.Random(0), share=5) >= 3


@pytest.mark.slow
def test_killed_a_hundred_times_it_loses_nothing_and_repeats_nothing(
    forker: subprocess.Popen[str], store: ArtifactStore, tmp_path: Path
) -> None:
    expected = tmp_path / "expected"
    run_undisturbed(forker, store, expected)
    deaths = 0
    for attempt in range(40):
        killed = tmp_path / str(attempt)
        deaths += kill_until_done(forker, store, killed, expected, random.Random(attempt), share=20)
        if deaths >= 100:
            break

    assert deaths >= 100


def run_undisturbed(forker: subprocess.Popen[str], store: ArtifactStore, directory: Path) -> None:
    directory.mkdir()
    (directory / "recipe.json").write_text(json.dumps(RECIPE))
    start(forker, f"--run-dir {directory} --artifact-dir {store.root}")
    assert answer(forker) == 0


def kill_until_done(
    forker: subprocess.Popen[str],
    store: ArtifactStore,
    killed: Path,
    expected: Path,
    rng: random.Random,
    share: int,
) -> int:
    """Start a run, kill it once it has written up to 1 / ``share`` of all there is, and so on; returns how often."""
    killed.mkdir()
    (killed / "recipe.json").write_text(json.dumps(RECIPE))
    deaths, states = 0, set()
    while True:
        child = start(forker, f"--run-dir {killed} --artifact-dir {store.root}")
        kill_after_growth(child, killed, rng.randint(1, sum(sizes(expected)) // share), rng.uniform(0, 0.05))
        status = answer(forker)
        states.add(sizes(killed))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        deaths += 1

    assert len(states) >= 4  # killed in different states, not always in the same one
    for name in STORED:
        assert lines(killed / name) == lines(expected / name)
    for name in DERIVED:
        assert rounded(killed / name) == rounded(expected / name)
    return deaths


def lines(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines())


def rounded(path: Path) -> list[dict[str, Any]]:
    """To ten digits: the last one depends on where a process has its memory."""
    return [json.loads(line, parse_float=lambda text: f"{float(text):.10g}") for line in lines(path)]


def test_a_request_to_stop_is_honoured_with_its_own_exit_status(
    forker: subprocess.Popen[str], store: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    child = start(forker, f"--run-dir {tmp_path} --artifact-dir {store.root}")
    kill_after_growth(child, tmp_path, 50_000, 0.0, signal.SIGTERM)

    assert answer(forker) == 3
    assert read_result(tmp_path) == {
        "status": "stopped",
        "result": None,
        "error": {"code": "stopped", "detail": "stopped on request"},
    }


def kill_after_growth(
    child: int, directory: Path, growth: int, delay: float, by: signal.Signals = signal.SIGKILL
) -> None:
    """Kill a run once it has written ``growth`` bytes, and ``delay`` seconds later: not always between two writes."""
    enough = sum(sizes(directory)) + growth
    with suppress(ProcessLookupError):  # it finished first
        while sum(sizes(directory)) < enough:
            os.kill(child, 0)
            time.sleep(0.002)
        time.sleep(delay)
        os.kill(child, by)


def sizes(directory: Path) -> tuple[int, ...]:
    return tuple((directory / name).stat().st_size if (directory / name).exists() else 0 for name in FILES)

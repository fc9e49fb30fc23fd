"""A stress test that is killed, however often and wherever, ends with the files of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
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

# imports once and forks a real process per run: each line of input is when it dies and its arguments
FORKER = """
import os, sys
from pathlib import Path
from transformers import BertForSequenceClassification, LlamaForCausalLM
from evaluation.__main__ import main
from tests.dying import die_when

FILES = sys.argv[1:]

def written(directory):
    return sum(path.stat().st_size for path in map(directory.joinpath, FILES) if path.exists())

for line in sys.stdin:
    growth, seconds, by, directory, artifacts = line.split()
    child = os.fork()
    if child == 0:
        if int(by):
            enough = written(Path(directory)) + int(growth)
            die_when(lambda: written(Path(directory)) >= enough, float(seconds), int(by))
        os._exit(main(["--run-dir", directory, "--artifact-dir", artifacts]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", FORKER, *FILES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(
    forker: subprocess.Popen[str],
    store: ArtifactStore,
    directory: Path,
    *,
    by: int = 0,
    growth: int = 0,
    seconds: float = 0.0,
) -> int:
    """Its exit status. It gets a signal ``by`` which it ends once it has written ``growth`` bytes, and ``seconds``
    later: not always between two writes."""
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write(f"{growth} {seconds} {by} {directory} {store.root}\n")
    forker.stdin.flush()
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
    assert run(forker, store, directory) == 0


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
        growth, seconds = rng.randint(1, sum(sizes(expected)) // share), rng.uniform(0, 0.05)
        status = run(forker, store, killed, by=signal.SIGKILL, growth=growth, seconds=seconds)
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
    assert run(forker, store, tmp_path, by=signal.SIGTERM, growth=50_000) == 3
    assert read_result(tmp_path) == {
        "status": "stopped",
        "result": None,
        "error": {"code": "stopped", "detail": "stopped on request"},
    }


def sizes(directory: Path) -> tuple[int, ...]:
    return tuple((directory / name).stat().st_size if (directory / name).exists() else 0 for name in FILES)

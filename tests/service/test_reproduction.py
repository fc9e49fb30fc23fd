"""Results of the paper as chains of recorded jobs, from nothing to the page, smaller than tiny."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evaluation.reproduction.page import html, markdown
from evaluation.reproduction.results import RESULTS
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tiny import TinyWorld
from evaluation.reproduction.toy_world import Size
from service.database import open_database
from service.db.session import sessions
from service.db.tables import Job
from service.jobs.chain import Recorded
from service.reproduction import Reproduced, facts, reproduce
from service.settings import Settings
from trainer.errors import RunFailed
from trainer.reporting import read_events

SMALLEST = Size(1, 64, 3, 2, 2, prompts=6, responses=2, untrained=0, hidden_size=16, layers=1, draws=100)

SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from tests.service.test_reproduction import placed, SMALLEST
from evaluation.reproduction.results import RESULTS
from evaluation.reproduction.tiny import TinyWorld
from service.reproduction import processes, reproduce

class Fatal:
    def __init__(self, stream):
        self.flush = stream.flush
        self.stream = stream

    def write(self, text):
        self.stream.write(text)
        if "1 of 5" in text:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()

if __name__ == "__main__":
    root = Path(sys.argv[1])
    sys.stderr = Fatal(sys.stderr)
    with processes(1) as pool:
        reproduce(RESULTS["table2"], [TinyWorld(0, SMALLEST, root)], SMALLEST, placed(root), pool, 1)
"""
"""Kills itself amid the second of its five steps: whoever watches it could come too late."""


def placed(root: Path) -> Settings:
    url = f"sqlite:///{(root / 'assay.db').absolute()}"
    return Settings(database_url=url, artifact_dir=root / "artifacts", runs_dir=root / "runs", poll_seconds=0.05)


def reproduced(key: str, root: Path, seeds: int = 1) -> Reproduced:
    worlds = [TinyWorld(seed, SMALLEST, root) for seed in range(seeds)]
    with ThreadPoolExecutor(1) as pool:
        return reproduce(RESULTS[key], worlds, SMALLEST, placed(root), pool, 1)


def told(found: Reproduced) -> dict[str, Any]:
    """What does not depend on when it was run, and by which jobs."""
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    return {name: value for name, value in content.items() if name not in {"minutes", "runs"}}


QUICK = ("figure4", "table2", "figure5")


@pytest.mark.parametrize("keys", [QUICK, pytest.param(tuple(RESULTS), marks=pytest.mark.slow)], ids=["quick", "all"])
def test_results_give_every_claim_a_word_and_what_one_has_done_the_others_reuse(
    keys: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    perform = Recorded.perform

    def watched(place: Recorded, step: Step) -> None:
        done.append(step.name)
        perform(place, step)

    monkeypatch.setattr(Recorded, "perform", watched)
    for key in keys:
        found = reproduced(key, tmp_path)
        claims = {row["key"]: row for row in told(found)["claims"]}
        assert set(claims) == {each.key for each in (*RESULTS[key].claims, *RESULTS[key].controls)}
        assert {row["word"] for row in claims.values()} <= {"reproduced", "not reproduced", "reversed"}
        for row in claims.values():  # of one seed the interval is over prompts, or there is a reason
            assert (row["estimate"] is None) == (row["undefined_reason"] is not None)
            assert row["over_prompts"] is None or row["over_prompts"]["estimate"] == row["estimate"]
        page, text = (write(found.result, found.title, found.study, facts()) for write in (html, markdown))
        assert found.result.claims[0].place in text
        assert "plotly" in page
        assert "src=" not in page.split("plotly.js", 1)[0], "it needs no network"
    assert len(done) == len(set(done)), "no step is done twice"

    again = reproduced(keys[0], tmp_path)
    assert len(done) == len(set(done))
    assert {row["word"] for row in told(again)["claims"]}
    with open_database(placed(tmp_path)) as engine, sessions(engine)() as session:
        recorded = [job.name for job in session.query(Job) if job.status == "succeeded"]
    assert sorted(recorded) == sorted(done)


def test_killed_at_any_moment_it_continues_to_the_same_end(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, str(script), str(killed)], stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stderr is not None
        assert any("1 of 5" in line for line in child.stderr)
    assert child.returncode == -signal.SIGKILL
    assert told(reproduced("table2", killed)) == told(reproduced("table2", whole))
    [start] = [each for each in (killed / "runs").iterdir() if _name(each) == "tiny-s0-start"]
    assert sum(event["type"] == "started" for event in read_events(start)) == 1, "what was done is not done again"


def test_what_an_artifact_is_made_of_anew_is_made_anew_too(tmp_path: Path) -> None:
    world, place = TinyWorld(0, SMALLEST, tmp_path), Recorded(placed(tmp_path))
    [start], arm = world.start(), world.arm("dpo")
    for step in (start, arm):
        place.perform(step)
    begun = place.done(arm)
    assert begun is not None
    [version] = (tmp_path / "artifacts" / start.name).iterdir()
    version.rename(tmp_path / "lost")
    assert place.done(start) is None
    place.perform(start)
    made = place.done(start)
    assert made is not None
    assert made > begun, "so that the schedule does the arm again"


def test_a_step_of_several_processes_is_launched_and_found_again(tmp_path: Path) -> None:
    place = Recorded(placed(tmp_path))
    [start] = TinyWorld(0, SMALLEST, tmp_path).start()
    step = Step(start.name, {**start.recipe, "launch": {"processes": 2}})
    assert place.done(step) is None
    place.perform(step)
    assert place.done(step) is not None
    assert place.directory(step) == tmp_path / "runs" / step.name
    other = Step(start.name, {**step.recipe, "max_steps": 4})
    assert place.done(other) is None, "another recipe's run is not this one's"
    with pytest.raises(RunFailed, match="it says above why"):
        place.perform(other)


def _name(directory: Path) -> str:
    name: str = json.loads((directory / "recipe.json").read_text())["name"]
    return name

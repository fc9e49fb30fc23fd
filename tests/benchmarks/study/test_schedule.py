"""Steps are done once, in order, and a failure names its step."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.study.directory import RUNS, Directory
from evaluation.reproduction.schedule import Step, carry_out
from trainer.errors import Conflict, NotFound
from trainer.reporting import read_events

DATA = {"kind": "product_world", "size": 8, "validation_size": 4, "levels": [1]}
SHAPE = {"hidden_size": 8, "layers": 1, "heads": 1, "max_tokens": 128}


def step(name: str, *needs: str, **policy: object) -> Step:
    recipe = {"kind": "sft", "name": name, "policy": policy, "data": DATA, "batch": {"size": 4}, "max_steps": 1}
    return Step(name, recipe, needs)


def test_a_step_waits_for_what_it_needs_is_done_once_and_a_failure_names_its_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # the second is listed first; opening the first's artifact, it would fail if it did not wait
    steps = [step("second", "first", path="first"), step("first", scratch=SHAPE)]
    with ThreadPoolExecutor(2) as pool:
        carry_out(steps, Directory(tmp_path), pool, 2)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said] == ["study: 1 of 2: first", "study: 2 of 2: second"]

    with ThreadPoolExecutor(1) as pool, pytest.raises(NotFound, match="third: no artifact nowhere"):
        carry_out([*steps, step("third", "second", path="nowhere")], Directory(tmp_path), pool, 1)
    assert capsys.readouterr().err == ""
    events = read_events(tmp_path / RUNS / "first")
    assert sum(event["type"] == "started" for event in events) == 1


def test_what_another_recipe_has_done_is_not_taken_for_done(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        carry_out([step("first", scratch=SHAPE)], Directory(tmp_path), pool, 1)
        with pytest.raises(Conflict, match="belongs to another recipe"):
            carry_out([step("first", scratch={**SHAPE, "hidden_size": 16})], Directory(tmp_path), pool, 1)

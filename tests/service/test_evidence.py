"""What figures are drawn from, read from a run directory."""

import json
from pathlib import Path

from service.evidence import read_directory
from trainer.reporting import EVENTS_FILE


def test_of_a_step_that_a_resumed_run_did_twice_the_last_time_counts(tmp_path: Path) -> None:
    # two attempts: the second goes on from a checkpoint after step 1
    steps = [(1, 0.9), (2, 0.8), (3, 0.7), (2, 0.75), (3, 0.65), (4, 0.6)]
    events = [
        {"sequence": place, "type": "metrics", "stage": "train", "step": step, "values": {"loss": loss}}
        for place, (step, loss) in enumerate(steps, 1)
    ]
    (tmp_path / EVENTS_FILE).write_text("".join(json.dumps(each) + "\n" for each in events))
    _, evidence = read_directory(tmp_path)
    [course] = evidence.metrics
    assert (course.stage, course.name) == ("train", "loss")
    assert course.points == [(1, 0.9), (2, 0.75), (3, 0.65), (4, 0.6)]


def test_steps_are_in_order_where_a_run_goes_on_from_before_its_first_event(tmp_path: Path) -> None:
    events = [
        {"sequence": place, "type": "metrics", "stage": "train", "step": step, "values": {"loss": step / 10}}
        for place, step in enumerate((5, 10, 3, 5, 8, 10), 1)
    ]
    (tmp_path / EVENTS_FILE).write_text("".join(json.dumps(each) + "\n" for each in events))
    _, evidence = read_directory(tmp_path)
    assert evidence.metrics[0].points == [(3, 0.3), (5, 0.5), (8, 0.8), (10, 1.0)]

"""What a run says can be trusted after any kind of end."""

import io
import os
import signal
from pathlib import Path

import pytest

from trainer.errors import Stopped
from trainer.reporting import STOP_FILE, Reporter, read_events


def test_a_torn_last_line_is_dropped_and_numbering_continues(tmp_path: Path) -> None:
    with Reporter(tmp_path, quiet=True) as reporter:
        reporter.event("message", text="one")
        reporter.event("message", text="two")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"sequence": 3, "ty')
    assert [event["text"] for event in read_events(tmp_path)] == ["one", "two"]
    with Reporter(tmp_path, quiet=True) as reporter:
        reporter.event("message", text="three")
    assert [event["sequence"] for event in read_events(tmp_path)] == [1, 2, 3]
    assert [event["text"] for event in read_events(tmp_path, after=2)] == ["three"]


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with Reporter(tmp_path, quiet=True) as reporter:
        reporter.metrics("train", 1, {"loss": 0.5, "bad": float("nan"), "worse": float("inf")})
    assert read_events(tmp_path)[0]["values"] == {"loss": 0.5}


def test_progress_prints_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Reporter(tmp_path, title="demo", stream=stream) as reporter:
        for done in range(1, 4):
            reporter.progress("train", done, 3, note="loss 0.1")
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "demo: train 3/3 steps, loss 0.1"
    assert read_events(tmp_path)[-1]["done"] == 3


def test_a_stop_can_be_asked_for_by_file_or_by_signal(tmp_path: Path) -> None:
    with Reporter(tmp_path, quiet=True) as reporter:
        reporter.raise_if_stopped()
        (tmp_path / STOP_FILE).touch()
        with pytest.raises(Stopped):
            reporter.raise_if_stopped()
        (tmp_path / STOP_FILE).unlink()
        os.kill(os.getpid(), signal.SIGTERM)
        assert reporter.stop_requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

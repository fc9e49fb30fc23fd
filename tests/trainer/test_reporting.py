"""What a run says can be trusted after any kind of end."""

import errno
import io
import itertools
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer import reporting
from trainer.errors import Stopped, StorageFailure
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
    assert read_events(tmp_path)[2]["text"] == "three"


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with Reporter(tmp_path, quiet=True) as reporter:
        reporter.metrics("train", 1, {"loss": 0.5, "bad": float("nan"), "worse": float("inf")})
    assert read_events(tmp_path)[0]["values"] == {"loss": 0.5}


def test_progress_prints_plain_lines_where_there_is_no_terminal(tmp_path: Path, clock: Callable[..., None]) -> None:
    stream, ticks = io.StringIO(), iter([100.0, 105.0, 120.0, 121.0])
    with Reporter(tmp_path, title="demo", stream=stream) as reporter:
        clock(reporting, monotonic=lambda: next(ticks))
        for done in (1, 2, 5, 43):
            reporter.progress("train", done, 43, note="loss 0.1")
    assert stream.getvalue().splitlines() == [
        "demo: train 1/43 steps, loss 0.1",
        "demo: train 5/43 steps, loss 0.1, 5.0 s/step, about 190 s left",  # none at 105 s, ten seconds have not passed
        "demo: train 43/43 steps, loss 0.1, 2.0 steps/s",
    ]
    assert read_events(tmp_path)[-1]["done"] == 43


def test_progress_is_a_bar_with_loss_rate_and_time_left_on_a_terminal(
    tmp_path: Path, clock: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream, ticks = Terminal(), itertools.count(100.0, 0.25)
    with Reporter(tmp_path, title="demo", stream=stream) as reporter:
        clock(reporting, monotonic=lambda: next(ticks))
        for done in (1, 2, 3):
            reporter.progress("train", done, 43, note=f"loss 0.{done}")
    last = stream.getvalue().rpartition("demo train")[2]
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", last)
    assert re.search(r"3/43 loss 0.3 4.0 steps/s (\d:\d\d:\d\d|-:--:--)", plain)


def test_a_disk_that_takes_no_heartbeat_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with Reporter(tmp_path, quiet=True) as reporter:
        monkeypatch.setattr(Path, "touch", refuse)
        with pytest.raises(StorageFailure, match=r"cannot write .*: Read-only file system; free space or choose"):
            reporter.progress("train", 1, 43)


def test_one_that_does_not_record_writes_and_says_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Reporter(tmp_path, stream=stream) as first, Reporter(tmp_path, stream=stream, recording=False) as second:
        first.event("message", text="one")
        second.message("two")
        second.metrics("train", 1, {"loss": 1.0})
        second.progress("train", 1, 1)
        first.event("message", text="three")
    assert [event["text"] for event in read_events(tmp_path)] == ["one", "three"]
    assert stream.getvalue() == ""


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

"""What a run says while it works: events on disk for machines, a bar or plain lines for people.

``events.jsonl`` is the one record. Each line is an object with ``sequence`` (from 1, without gaps, continued
after a resume), ``time`` (ISO 8601 UTC) and ``type``:

- ``started``   ``attempt``
- ``progress``  ``stage, done, total, unit, rate, eta_seconds``
- ``metrics``   ``stage, step, values`` (name to finite number)
- ``artifact``  ``name, version, kind``
- ``message``   ``text``
- ``succeeded`` | ``failed`` ``error {code, detail}`` | ``stopped``
"""

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.errors import Stopped
from trainer.files import drop_torn_line, storage_errors

STOP_FILE = "stop"
HEARTBEAT_FILE = "heartbeat"
EVENTS_FILE = "events.jsonl"

_SECONDS_BETWEEN_PROGRESS_EVENTS = 0.5
_SECONDS_BETWEEN_PLAIN_LINES = 10.0


def read_events(directory: Path) -> list[dict[str, Any]]:
    """Events of a run directory; a torn last line is not an event yet."""
    path = directory / EVENTS_FILE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def last_sequence(directory: Path) -> int:
    """Number of the last event of a run directory, 0 before the first; cuts off what a kill left of a line."""
    path = directory / EVENTS_FILE
    lines = drop_torn_line(path).splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["sequence"]) if lines else 0


class Tracker(Protocol):
    """An experiment tracker that has been started."""

    def log(self, values: dict[str, Any], step: int | None) -> None: ...

    def finish(self) -> None: ...


class Reporter:
    """Writes events, shows progress, and carries the request to stop. Use as a context manager.

    One that is not ``recording`` writes and shows nothing: several processes of a run have one voice.
    """

    def __init__(
        self,
        directory: Path,
        *,
        title: str = "",
        stream: TextIO | None = None,
        quiet: bool = False,
        recording: bool = True,
    ) -> None:
        self.directory = directory
        self._title = title
        self._quiet = quiet or not recording
        self._recording = recording
        self.trackers: Sequence[Tracker] = ()
        self.pulse: Callable[[], None] | None = None
        """Called between two steps by the thread that works, whenever it tells how far it is."""
        self._part = ""
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._stage_started: dict[str, tuple[float, int]] = {}
        self._last_event = 0.0
        self._last_line = 0.0
        self._stop = threading.Event()
        self._previous_handlers: dict[int, Any] = {}
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._sequence = last_sequence(directory) if recording else 0
            self._events = (directory / EVENTS_FILE).open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous_handlers[number] = signal.signal(number, self._on_signal)
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._events.close()
        for tracker in self.trackers:
            tracker.finish()

    def event(self, type_: str, **fields: Any) -> None:  # noqa: ANN401 - an event carries any JSON
        """Append one event and flush it, so that what a reader has seen is what happened."""
        if not self._recording:
            return
        self._sequence += 1
        record = {"sequence": self._sequence, "time": datetime.now(UTC).isoformat(), "type": type_, **fields}
        with storage_errors(self.directory):
            self._events.write(json.dumps(record, allow_nan=False) + "\n")
            self._events.flush()

    def message(self, text: str) -> None:
        """Say one line to whoever watches."""
        self.event("message", text=text)
        self._say(text)

    def metrics(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Record a step's numbers; what is not finite is left out rather than written as a number.

        Trackers get them as ``STAGE/NAME``.
        """
        stage = self._part + stage
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self.event("metrics", stage=stage, step=step, values=finite)
        for tracker in self.trackers:
            tracker.log({f"{stage}/{name}": value for name, value in finite.items()}, step=step)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within, stages are told as ``name/stage``: a run inside the run."""
        outer, self._part = self._part, f"{self._part}{name}/"
        try:
            yield
        finally:
            self._part = outer

    def progress(self, stage: str, done: int, total: int, *, unit: str = "step", note: str = "") -> None:
        """Tell how far ``stage`` is. Cheap enough to call at every step."""
        stage = self._part + stage
        now = time.monotonic()
        started, first = self._stage_started.setdefault(stage, (now, done))
        finished = done >= total
        rate = (done - first) / (now - started) if now > started and done > first else None
        eta = (total - done) / rate if rate else None
        if finished or now - self._last_event >= _SECONDS_BETWEEN_PROGRESS_EVENTS:
            self._last_event = now
            with storage_errors(self.directory):
                (self.directory / HEARTBEAT_FILE).touch()
            self.event("progress", stage=stage, done=done, total=total, unit=unit, rate=rate, eta_seconds=eta)
        self._show(stage, done, total, unit, note, rate, now)
        if self.pulse is not None:
            self.pulse()

    def stop_requested(self) -> bool:
        """Whether somebody asked this run to stop, by signal or by a ``stop`` file in its directory."""
        return self._stop.is_set() or (self.directory / STOP_FILE).exists()

    def raise_if_stopped(self) -> None:
        """Raise Stopped where a stop was requested and there is nothing to save first."""
        if self.stop_requested():
            raise Stopped("stopped on request")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():  # asked twice: the impatient get their way, checkpoints are atomic
            raise KeyboardInterrupt
        self._stop.set()

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(f"{self._title}: {text}" if self._title else text, markup=False, soft_wrap=True)

    def _show(self, stage: str, done: int, total: int, unit: str, note: str, rate: float | None, now: float) -> None:
        finished = done >= total
        speed = _speed(rate, unit) if rate else ""
        if self._bar is not None:
            if stage not in self._tasks:
                label = f"{self._title} {stage}".strip()
                self._tasks[stage] = self._bar.add_task(label, total=total, completed=done, note=note, speed=speed)
            self._bar.update(self._tasks[stage], completed=done, total=total, note=note, speed=speed)
        elif finished or now - self._last_line >= _SECONDS_BETWEEN_PLAIN_LINES:
            self._last_line = now
            remaining = f"about {(total - done) / rate:.0f} s left" if rate and not finished else ""
            self._say(", ".join(filter(None, [f"{stage} {done}/{total} {unit}s", note, speed, remaining])))


def _speed(rate: float, unit: str) -> str:
    """In the unit in which it is more than one: 2.5 steps/s or 8.0 s/step."""
    return f"{rate:.1f} {unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit}"

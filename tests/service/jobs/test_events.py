"""Every event that a run wrote is read once, however long its file is and wherever the reader begins."""

import json
from pathlib import Path

import pytest

from service.jobs.events import EventTail
from trainer.reporting import EVENTS_FILE

BYTES = 1 << 20


def write(directory: Path, first: int, last: int, text: str = "") -> None:
    with (directory / EVENTS_FILE).open("a") as file:
        for sequence in range(first, last + 1):
            file.write(json.dumps({"sequence": sequence, "time": "2026-11-26T08:00:00+00:00", "text": text}) + "\n")


def sequences(tail: EventTail) -> list[int]:
    return [event["sequence"] for event in tail.read()]


@pytest.mark.parametrize("megabytes", [1.5, 3.5])
def test_what_comes_after_megabytes_that_were_seen_is_found_at_once(tmp_path: Path, megabytes: float) -> None:
    seen = int(megabytes * 1024)
    write(tmp_path, 1, seen, text="x" * 1024)
    assert (tmp_path / EVENTS_FILE).stat().st_size > megabytes * BYTES
    write(tmp_path, seen + 1, seen + 2)

    tail = EventTail(tmp_path, seen)

    assert sequences(tail) == [seen + 1, seen + 2]
    assert sequences(tail) == []


def test_a_long_file_is_read_in_pieces_of_a_megabyte(tmp_path: Path) -> None:
    write(tmp_path, 1, 2560, text="x" * 1024)
    tail = EventTail(tmp_path, 0)

    pieces = []
    while piece := sequences(tail):
        pieces.append(piece)

    assert [sequence for piece in pieces for sequence in piece] == list(range(1, 2561))
    assert len(pieces) == 3
    assert all(len(piece) <= 1025 for piece in pieces)


def test_a_torn_last_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    write(tmp_path, 1, 1)
    line = json.dumps({"sequence": 2, "time": "2026-11-26T08:00:00+00:00"})
    with (tmp_path / EVENTS_FILE).open("a") as file:
        file.write(line[:10])
    tail = EventTail(tmp_path, 0)
    assert sequences(tail) == [1]
    assert sequences(tail) == []

    with (tmp_path / EVENTS_FILE).open("a") as file:
        file.write(line[10:] + "\n")

    assert sequences(tail) == [2]

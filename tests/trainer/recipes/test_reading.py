"""A run that continues reads the rows it began with, or says that they have changed."""

from pathlib import Path

import pytest

from trainer.data.sources import FileData
from trainer.errors import Conflict
from trainer.recipe import Run
from trainer.recipes.reading import read_pairs, read_preferences
from trainer.reporting import read_events

GOOD = '{"prompt": "p", "response": "r"}\n'


def test_rows_that_changed_since_the_run_began_are_refused(tmp_path: Path, run: Run) -> None:
    rows, held_out = tmp_path / "rows.jsonl", tmp_path / "held_out.jsonl"
    rows.write_text(GOOD)
    held_out.write_text(GOOD)
    data = FileData(path=str(rows), validation=str(held_out))
    first = read_pairs(data, run)
    assert [len(part) for part in first] == [1, 1]
    assert read_pairs(data, run) == first
    held_out.write_text(GOOD * 2)
    with pytest.raises(Conflict, match=r"the held-out rows of .*rows\.jsonl have changed since this run began"):
        read_pairs(data, run)
    held_out.write_text(GOOD)
    rows.write_text(GOOD.replace('"r"', '"another"'))
    with pytest.raises(Conflict, match=r"the training rows of .*rows\.jsonl have changed"):
        read_pairs(data, run)


def test_what_was_skipped_is_counted_and_among_the_events(tmp_path: Path, run: Run) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n{}\n')
    read_preferences(FileData(path=str(rows), on_bad_row="skip"), run)
    assert run.data_counts == {"training": {"rows": 1, "skipped": 1}, "held_out": {"rows": 0, "skipped": 0}}
    said = [event["text"] for event in read_events(run.directory)]
    first = f"{rows}, line 2, field 'prompt': missing; the row has no fields"
    assert said == [f"skipped 1 of 2 rows of {rows}; the first: {first}"]

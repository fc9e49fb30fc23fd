"""A run's rows, the same ones every time it continues."""

import json
from collections.abc import Sequence
from pathlib import Path

from trainer.data.rows import Pair, Preference, digest_rows
from trainer.data.sources import DataSource
from trainer.errors import Conflict
from trainer.files import write_atomically
from trainer.recipe import Run

DATA_FILE = "data.json"


def read_pairs(data: DataSource, run: Run) -> tuple[list[Pair], list[Pair]]:
    """Rows to train on and rows held out; says what it skipped.

    Raises InvalidInput naming a bad row, and Conflict if the rows are not those the run began with.
    """
    report = run.reporter.message
    rows, held_out = data.pairs(report=report), data.pairs(held_out=True, report=report)
    _hold(data, rows, held_out, run.directory)
    return rows, held_out


def read_prompts(data: DataSource, run: Run) -> tuple[list[Pair], list[Pair]]:
    """As ``read_pairs``, of prompts that are to be answered: the responses are empty."""
    report = run.reporter.message
    rows, held_out = (
        [Pair(prompt, "") for prompt in data.prompts(held_out=each, report=report)] for each in (False, True)
    )
    _hold(data, rows, held_out, run.directory)
    return rows, held_out


def read_preferences(data: DataSource, run: Run) -> tuple[list[Preference], list[Preference]]:
    """As ``read_pairs``, of preferences."""
    report = run.reporter.message
    rows, held_out = data.preferences(report=report), data.preferences(held_out=True, report=report)
    _hold(data, rows, held_out, run.directory)
    return rows, held_out


def _hold(
    data: DataSource, rows: Sequence[Pair | Preference], held_out: Sequence[Pair | Preference], directory: Path
) -> None:
    """Record the rows' digests when the run first starts; whenever it continues, refuse others."""
    digests = {"training": digest_rows(rows), "held-out": digest_rows(held_out)}
    path = directory / DATA_FILE
    if not path.exists():
        write_atomically(path, json.dumps(digests, indent=2) + "\n")
    for name, digest in json.loads(path.read_text(encoding="utf-8")).items():
        if digests[name] != digest:
            raise Conflict(
                f"the {name} rows of {data.place} have changed since this run began; put them back, or start again in"
                " a new run directory"
            )

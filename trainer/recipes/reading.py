"""A run's rows, the same ones every time it continues, and what a checker says of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from trainer.data.product_world import satisfied
from trainer.data.product_world.reading import read_prompt
from trainer.data.rows import Pair, Preference, digest_rows
from trainer.data.sources import DataSource, Skipped
from trainer.data.text import as_text
from trainer.errors import Conflict
from trainer.files import write_atomically
from trainer.recipe import DataPart, Run

DATA_FILE = "data.json"

Content = TypeVar("Content", Pair, Preference)


def read_pairs(data: DataSource, run: Run) -> tuple[list[Pair], list[Pair]]:
    """Rows to train on and rows held out; counts them, and says what it skipped.

    Raises InvalidInput naming a bad row, and Conflict if the rows are not those the run began with.
    """
    rows, held_out = _read(data, data.pairs, run)
    _tell_disagreements(data, rows, run)
    return rows, held_out


def read_prompts(data: DataSource, run: Run) -> tuple[list[Pair], list[Pair]]:
    """As ``read_pairs``, of prompts that are to be answered: the responses are empty."""
    return _read(data, lambda **how: [Pair(prompt, "") for prompt in data.prompts(**how)], run)


def read_preferences(data: DataSource, run: Run) -> tuple[list[Preference], list[Preference]]:
    """As ``read_pairs``, of preferences."""
    rows, held_out = _read(data, data.preferences, run)
    _tell_disagreements(data, rows, run)
    return rows, held_out


def _read(data: DataSource, rows_of: Callable[..., list[Content]], run: Run) -> tuple[list[Content], list[Content]]:
    rows, held_out = _counted(rows_of, "training", run), _counted(rows_of, "held_out", run)
    _hold(data, rows, held_out, run.directory)
    return rows, held_out


def _counted(rows_of: Callable[..., list[Content]], part: DataPart, run: Run) -> list[Content]:
    def skip(rows: Skipped) -> None:
        run.reporter.message(str(rows))
        run.count(part, skipped=rows.count)

    run.count(part, rows=0, skipped=0)
    kept = rows_of(held_out=part == "held_out", report=skip)
    run.count(part, rows=len(kept))
    return kept


def count_disagreements(data: DataSource, rows: Sequence[Pair | Preference]) -> dict[str, float]:
    """How many responses the checker of ``data.verify`` finds wrong and, of rejected ones, right; for a manifest.

    Nothing without a checker. Raises InvalidInput for prompts that it cannot judge.
    """
    if data.verify is None:
        return {}
    accepted = [row if isinstance(row, Pair) else row.chosen for row in rows]
    rejected = [row.rejected for row in rows if isinstance(row, Preference)]
    return {
        "data/accepted_violating": float(sum(not _right(pair) for pair in accepted if pair is not None)),
        "data/rejected_satisfying": float(sum(_right(pair) for pair in rejected if pair is not None)),
    }


def _right(pair: Pair) -> bool:
    return satisfied(read_prompt(as_text(pair.prompt)), pair.response)


def _tell_disagreements(data: DataSource, rows: Sequence[Pair | Preference], run: Run) -> None:
    if found := count_disagreements(data, rows):
        wrong, right = map(int, found.values())
        run.reporter.message(
            f"of {len(rows)} rows, {wrong} accepted violate their prompt and {right} rejected satisfy theirs"
        )


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

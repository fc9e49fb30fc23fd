"""What commands print: tables for people, JSON for programs."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_SECONDS_BETWEEN_LINES = 10.0


def say(line: str) -> None:
    """A line of what was asked for, on standard output."""
    sys.stdout.write(f"{line}\n")


def note(line: str) -> None:
    """A line about the work itself, on standard error."""
    sys.stderr.write(f"{line}\n")


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """One JSON document on standard output."""
    say(json.dumps(value, default=_plain, indent=2, allow_nan=False))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table with the columns named in ``numbers`` aligned right; only headings say so where there are no rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # lines in a file or pipe must not be folded at the 80 columns nobody looks at
    width = None if sys.stdout.isatty() else 10_000
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON does not know
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):  # as the API writes it
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line every ten seconds elsewhere; call what it yields with how many more are done."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        ) as bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.advance(task, more)
        return
    done, said = 0, time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, said
        done += more
        if done >= total or time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            note(f"{what} {done}/{total} {unit}s")

    yield advance

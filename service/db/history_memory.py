"""Columns of the history in memory: nothing of them changes but that runs come and go."""

from collections.abc import Collection
from threading import Lock

import numpy as np
from sqlalchemy import BigInteger, func, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.correlation_columns import TABLE, moment_of, unpacked
from service.db.history_columns import Columns, Rows, read_columns

_MEMORY = "columns of the history"
_NONE = Columns({}, {})

Runs = dict[tuple[str, int], int]
"""How many rows there are of each run and moment."""


def keep_columns(make_session: sessionmaker[Session], most_rows: int) -> None:
    """Let these sessions keep the columns that one of them has read for the others: of all rows, or of none where there
    are more than ``most_rows``. A row takes about 70 bytes when each of its columns was asked for.
    """
    make_session.configure(info={_MEMORY: _Memory(most_rows)})


def remembered(session: Session, names: Collection[str]) -> Rows | None:
    """All rows with what ``read_columns`` has of them; None where they are not to be kept, or change at this moment."""
    memory: _Memory | None = session.info.get(_MEMORY)
    columns = memory.columns(session, names) if memory else None
    return None if columns is None else Rows(columns)


class _Memory:
    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._lock = Lock()
        self._runs: Runs = {}
        self._columns = _NONE

    def columns(self, session: Session, names: Collection[str]) -> Columns | None:
        runs = _runs(session)
        kept = sum(runs.values()) <= self._most_rows and not unpacked(session)
        with self._lock:
            if runs != self._runs or not kept:
                self._runs, self._columns = runs, _NONE
            if not kept:
                return None
            missing = {name for name in ("run", "created_at", *names) if name not in self._columns}
            if missing:
                found = read_columns(session, missing)
                if _runs_of(found) != runs:
                    return None
                self._columns |= found
            return self._columns


def _runs(session: Session) -> Runs:
    """Read from an index."""
    n_rows = func.sum(TABLE.c.n_rows).cast(BigInteger)
    found = session.execute(select(TABLE.c.run, TABLE.c.moment, n_rows).group_by(TABLE.c.run, TABLE.c.moment))
    return {(run, moment): n for run, moment, n in found}


def _runs_of(columns: Columns) -> Runs:
    run, at = columns.named["run"], columns.named["created_at"]
    both, n_rows = np.unique(run.places.astype(np.intp) * len(at.values) + at.places, return_counts=True)
    pairs = (divmod(each, len(at.values)) for each in both.tolist())
    return {(run.values[a], moment_of(at.values[b])): n for (a, b), n in zip(pairs, n_rows.tolist(), strict=True)}

"""Columns of the history in memory: nothing of them changes but that runs come and go.

What may be forgotten of a run, or said of its job, is not among them.
"""

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
    are more than ``most_rows``, or where that is 0. A row takes about 65 bytes when each of its columns was asked for.
    """
    make_session.configure(info={_MEMORY: _Memory(most_rows)} if most_rows else {})


def remembers(session: Session) -> bool:
    """Whether it may keep columns."""
    return _MEMORY in session.info


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
            if not kept:
                self._runs, self._columns = {}, _NONE
                return None
            if runs != self._runs:
                self._columns = self._after_changes(session, runs)
                self._runs = runs
            missing = {"run", "created_at", *names} - self._columns.names()
            if missing:
                found = read_columns(session, missing)
                if _runs_of(found) != runs:
                    return None
                self._columns |= found
            return self._columns

    def _after_changes(self, session: Session, runs: Runs) -> Columns:
        """Those there are without what went and with what came; none where that is much, or not the newest."""
        went, came = self._runs.items() - runs.items(), runs.items() - self._runs.items()
        stayed, columns = self._runs.items() & runs.items(), self._columns
        newest = max((moment for (_, moment), _ in stayed), default=None)
        if not columns.named or newest is None or len(came) > _FEW or any(moment <= newest for (_, moment), _ in came):
            return _NONE
        if len(columns.named["run"].values) > 2 * len(runs) + _FEW:  # most are of runs that went
            return _NONE
        if went:
            gone = {run for (run, _), _ in went}
            columns = columns.those(~columns.named["run"].holds(gone.__contains__))
        if came:
            of_new = (TABLE.c.run.in_({run for (run, _), _ in came}), TABLE.c.moment > newest)
            columns = columns.then(read_columns(session, columns.names(), *of_new))
        return columns if _runs_of(columns) == runs else _NONE


_FEW = 100


def _runs(session: Session) -> Runs:
    """Those that there are at this moment; read from an index."""
    n_rows = func.sum(TABLE.c.n_rows).cast(BigInteger)
    found = session.execute(select(TABLE.c.run, TABLE.c.moment, n_rows).group_by(TABLE.c.run, TABLE.c.moment))
    return {(run, moment): n for run, moment, n in found}


def _runs_of(columns: Columns) -> Runs:
    """Those that columns are of; the rows of each lie together."""
    run, at = columns.named["run"], columns.named["created_at"]
    another = (run.places[1:] != run.places[:-1]) | (at.places[1:] != at.places[:-1])
    begin = np.flatnonzero(np.concatenate([np.ones(min(len(run.places), 1), bool), another]))
    n_rows = np.diff(begin, append=len(run.places)).tolist()
    found: Runs = {}
    for a, b, n in zip(run.places[begin].tolist(), at.places[begin].tolist(), n_rows, strict=True):
        pair = run.values[a], moment_of(at.values[b])
        found[pair] = found.get(pair, 0) + n
    return found

"""Correlations of many runs by the column: what groups of the history are made of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from threading import BoundedSemaphore
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import BigInteger, ColumnElement, Row, Text, and_, column, select, values
from sqlalchemy.orm import Session

from service.db.correlation_columns import (
    MEASURED,
    NAMED,
    TABLE,
    at_moment,
    packed,
    unpack_names,
    unpack_numbers,
    unpacked,
)
from service.db.session import IN_BINARY
from service.db.tables import Correlation, Job, RunPrompts

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.float64]
Place = tuple[str, int]
"""A row's run and number."""


@dataclass(frozen=True)
class Named:
    """A column of few different values: (rows,) places among them."""

    values: Sequence[Any]
    places: Places

    def holds(self, says: Callable[[Any], bool]) -> Mask:
        """(rows,) what ``says`` says of each row's value."""
        return np.array([says(value) for value in self.values], bool)[self.places]


class Rows:
    """Correlations, the oldest first, those of one statistic, run and moment by their numbers.

    They come in blocks of these, and a column is unpacked when somebody asks for it, of the rows that are left by then.
    """

    def __init__(self, blocks: Mapping[str, Sequence[Any]], block: Places, at: Places | None = None) -> None:
        self._blocks = blocks
        self._block = block
        self._at = at
        self._found: dict[str, Any] = {}
        self.n = len(block)

    def those(self, mask: Mask) -> "Rows":
        """The rows where ``mask`` holds."""
        if mask.all():
            return self
        kept = np.flatnonzero(mask)
        return Rows(self._blocks, self._block[kept], kept if self._at is None else self._at[kept])

    def named(self, name: str) -> Named:
        """A column of few different values."""
        if name not in self._found:
            self._found[name] = self._packed(name) if name in NAMED else self._shared(name)
        found: Named = self._found[name]
        return found

    def measured(self, name: str) -> Numbers:
        """(rows,) NaN where there is none."""
        if name not in self._found:
            self._found[name] = self._left(unpack_numbers(self._blocks[name]))
        found: Numbers = self._found[name]
        return found

    def places(self, at: Places) -> list[Place]:
        """Of some of the rows; ``number`` must be there."""
        run, number = self.named("run"), self.measured("number")
        numbers = number[at].astype(np.int64).tolist()
        return [(run.values[place], each) for place, each in zip(run.places[at].tolist(), numbers, strict=True)]

    def _packed(self, name: str) -> Named:
        values, there, begins, places = unpack_names(self._blocks[name])
        return Named(values, there[begins[self._block] + self._left(places)])

    def _shared(self, name: str) -> Named:
        places: dict[Any, int] = {}
        of_blocks = [places.setdefault(value, len(places)) for value in self._blocks[name]]
        return Named([*places], np.array(of_blocks, np.intp)[self._block])

    def _left(self, of_all: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return of_all if self._at is None else of_all[self._at]


_TURNS = BoundedSemaphore(2)


@contextmanager
def turn(session: Session) -> Iterator[None]:
    """While columns are looked at, those of all rows that may fit are in memory: two at a time, the others wait."""
    session.connection()  # first, as whoever has used the session already: or each could wait for the other
    with _TURNS:
        yield


_ORDER = ("moment", "run", "first")
_SHARED: Mapping[str, ColumnElement[Any]] = {
    "statistic": TABLE.c.statistic,
    "name": select(Job.name).where(Job.id == TABLE.c.run).scalar_subquery(),
    "digest": select(RunPrompts.digest).where(RunPrompts.run == TABLE.c.run).scalar_subquery(),
}
"""What all rows of a block have in common besides these."""


def read_rows(session: Session, names: Iterable[str], *asked: ColumnElement[bool]) -> Rows:
    """Columns of the correlations for whose ``correlation_columns`` all that is ``asked`` holds, and maybe of more.

    ``run`` and ``created_at`` are always there. ``digest`` is that of the prompts of a row's run, ``name`` its job's.
    """
    wanted = {*names}
    plain = [*_ORDER, "n_rows", *(name for name in (*NAMED, *MEASURED) if name in wanted)]
    shared = [name for name in _SHARED if name in wanted]
    query = select(*(TABLE.c[name] for name in plain), *(_SHARED[name].label(name) for name in shared)).where(*asked)
    found = [*session.execute(query, execution_options=IN_BINARY).all(), *_unpacked(session, [*plain, *shared])]
    found.sort(key=itemgetter(*range(len(_ORDER))))
    columns = zip(*found, strict=True) if found else ((),) * len([*plain, *shared])
    blocks: dict[str, Sequence[Any]] = dict(zip([*plain, *shared], columns, strict=True))
    blocks["created_at"] = [*map(at_moment, blocks["moment"])]
    return Rows(blocks, np.repeat(np.arange(len(found)), np.array(blocks["n_rows"], np.intp)))


def rows_at(session: Session, places: Sequence[Place]) -> "dict[Place, Row[*tuple[Any, ...]]]":
    """All of the rows at some places, without those that are not there any more."""
    if not places:
        return {}
    wanted = values(column("run", Text), column("number", BigInteger), name="wanted").data(places).cte()
    its_row = and_(Correlation.run == wanted.c.run, Correlation.number == wanted.c.number)
    query = select(*Correlation.__table__.c).join_from(wanted, Correlation.__table__, its_row)
    return {(row.run, row.number): row for row in session.execute(query)}


def _unpacked(session: Session, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for run in unpacked(session):
        name = session.scalar(select(Job.name).where(Job.id == run))
        digest = session.scalar(select(RunPrompts.digest).where(RunPrompts.run == run))
        for block in packed(session, run):
            yield itemgetter(*names)({**block, "name": name, "digest": digest})

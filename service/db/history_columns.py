"""Correlations of many runs by the column: what groups of the history are made of, and read from where they lie."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from threading import BoundedSemaphore
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, select
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
from service.db.tables import Job

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Named:
    """A column of few different values: (rows,) places among them."""

    values: Sequence[Any]
    places: npt.NDArray[Any]
    """Of few bytes each, for there may be millions."""

    def holds(self, says: Callable[[Any], bool]) -> Mask:
        """(rows,) what ``says`` says of each row's value."""
        held = [says(value) for value in self.values]
        if sum(held) == 1:  # in a thirtieth of the time
            found: Mask = self.places == held.index(True)
            return found
        return np.array(held, bool).take(self.places)

    def then(self, more: "Named") -> "Named":
        """These rows, and then those."""
        numbered = {value: place for place, value in enumerate(self.values)}
        there = np.array([numbered.setdefault(value, len(numbered)) for value in more.values], np.intp)
        return Named([*numbered], np.concatenate([self.places, _small(there, len(numbered))[more.places]]))


@dataclass(frozen=True)
class Columns:
    """Of the same rows, by name: the oldest first, those of one statistic, run and moment by their numbers."""

    named: Mapping[str, Named]
    """Of few different values; ``run`` and ``created_at`` are always there."""
    measured: Mapping[str, Numbers]
    """(rows,) NaN where there is none."""

    def __or__(self, others: "Columns") -> "Columns":
        """Both, of the same rows."""
        return Columns({**self.named, **others.named}, {**self.measured, **others.measured})

    def names(self) -> set[str]:
        """Of all."""
        return {*self.named, *self.measured}

    def those(self, mask: Mask) -> "Columns":
        """Of the rows where ``mask`` holds."""
        named = {name: Named(column.values, column.places[mask]) for name, column in self.named.items()}
        return Columns(named, {name: column[mask] for name, column in self.measured.items()})

    def then(self, more: "Columns") -> "Columns":
        """Of these rows, and then of those."""
        named = {name: column.then(more.named[name]) for name, column in self.named.items()}
        numbers = {name: np.concatenate([column, more.measured[name]]) for name, column in self.measured.items()}
        return Columns(named, numbers)


class Rows:
    """Some of the rows of columns, in their order. Of each column theirs are picked when somebody asks for it."""

    def __init__(self, columns: Columns, at: Places | None = None) -> None:
        self._columns = columns
        self._at = at
        self._named: dict[str, Named] = {}
        self._measured: dict[str, Numbers] = {}
        self.n = len(columns.named["run"].places if at is None else at)

    def those(self, mask: Mask) -> "Rows":
        """The rows where ``mask`` holds."""
        if mask.all():
            return self
        kept = np.flatnonzero(mask)
        return Rows(self._columns, kept if self._at is None else self._at[kept])

    def named(self, name: str) -> Named:
        """A column of few different values."""
        if name not in self._named:
            whole = self._columns.named[name]
            self._named[name] = Named(whole.values, self._left(whole.places))
        return self._named[name]

    def measured(self, name: str) -> Numbers:
        """(rows,) NaN where there is none."""
        if name not in self._measured:
            self._measured[name] = self._left(self._columns.measured[name])
        return self._measured[name]

    def records(self, at: Places, names: Iterable[str]) -> list[dict[str, Any]]:
        """Columns of some of the rows, by the row."""
        found = {name: self._of(name, at) for name in names}
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]

    def _of(self, name: str, at: Places) -> list[Any]:
        if name in self._columns.measured:
            values = self._columns.measured[name][self._whole(at)].tolist()
            kind = _KINDS.get(name, float)
            return [None if math.isnan(value) else kind(value) for value in values]
        column = self._columns.named[name]
        return [column.values[place] for place in column.places[self._whole(at)].tolist()]

    def _whole(self, at: Places) -> Places:
        return at if self._at is None else self._at[at]

    def _left(self, of_all: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return of_all if self._at is None else of_all[self._at]


_KINDS = {"number": int}

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
}
"""What all rows of a block have in common besides these."""


def read_columns(session: Session, names: Iterable[str], *asked: ColumnElement[bool]) -> Columns:
    """Of the correlations for whose ``correlation_columns`` all that is ``asked`` holds, and maybe of more.

    ``run`` and ``created_at`` are always there. ``name`` is the job's.
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
    return _columns(blocks, ["run", "created_at", *shared])


def read_rows(session: Session, names: Iterable[str], *asked: ColumnElement[bool]) -> Rows:
    """All rows of ``read_columns``."""
    return Rows(read_columns(session, names, *asked))


def _columns(blocks: Mapping[str, Sequence[Any]], shared: Sequence[str]) -> Columns:
    block = np.repeat(np.arange(len(blocks["n_rows"])), np.array(blocks["n_rows"], np.intp))
    named = {name: _packed(blocks[name], block) for name in NAMED if name in blocks}
    named |= {name: _shared(blocks[name], block) for name in shared}
    return Columns(named, {name: unpack_numbers(blocks[name]) for name in MEASURED if name in blocks})


def _packed(parts: Sequence[bytes], block: Places) -> Named:
    values, there, begins, places = unpack_names(parts)
    return Named(values, _small(there, len(values))[begins[block] + places])


def _shared(of_blocks: Sequence[Any], block: Places) -> Named:
    numbered: dict[Any, int] = {}
    places = [numbered.setdefault(value, len(numbered)) for value in of_blocks]
    return Named([*numbered], _small(np.array(places, np.intp), len(numbered))[block])


def _small(places: Places, n_values: int) -> npt.NDArray[Any]:
    return places.astype(np.min_scalar_type(n_values))


def _unpacked(session: Session, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for run in unpacked(session):
        name = session.scalar(select(Job.name).where(Job.id == run))
        for block in packed(session, run):
            yield itemgetter(*names)({**block, "name": name})

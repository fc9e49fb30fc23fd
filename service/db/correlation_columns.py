"""Correlations by the column: packed when a run is stored, and made of its rows where nobody packed them.

Rows of a run never change, so that what follows from them can lie beside them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json
from sqlalchemy import Engine, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.db.bulk import insert_rows
from service.db.history_choices import values
from service.db.session import sessions, writing
from service.db.tables import Correlation, CorrelationColumns

NAMED = (
    *("scorer", "oracle", "temperature", "stratum", "scorer_version", "policy"),
    *("n_prompts", "n_responses", "n_dropped", "n_total", "n_truncated", "n_constant_prompts"),
    *("method", "undefined_reason", "code_version"),
)
"""Columns with few different values: these as JSON, a line's end, and of each row the place among them."""

MEASURED = ("number", "estimate", "standard_error", "lower", "upper")
"""Columns of numbers, one after the other, NaN where there is none."""

PLACES, NUMBERS = np.dtype("<u2"), np.dtype("<f8")
TABLE = CorrelationColumns.metadata.tables[CorrelationColumns.__tablename__]

_KEY = ("statistic", "run", "created_at")
_MOST_ROWS = 2**16
"""So that each place among different values has two bytes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]
Places = npt.NDArray[np.intp]


def store_columns(session: Session, run: str) -> None:
    """Store those of a run, whose correlations must be there."""
    insert_rows(session, TABLE, packed(session, run))


def packed(session: Session, run_id: str) -> Iterator[Row]:
    """Rows of ``correlation_columns`` for those of a run."""
    columns = [Correlation.__table__.c[name] for name in (*_KEY, *NAMED, *MEASURED)]
    order = [Correlation.__table__.c[name] for name in (*_KEY, "number")]
    rows = session.execute(select(*columns).where(Correlation.run == run_id).order_by(*order)).mappings()
    for (statistic, run, created_at), group in groupby(rows, itemgetter(*_KEY)):
        key = {"statistic": statistic, "run": run, "moment": moment_of(created_at)}
        while some := [*islice(group, _MOST_ROWS)]:
            yield {**key, "first": some[0]["number"], **_pack(some)}


def _pack(rows: Sequence[Any]) -> Row:
    found: Row = {"n_rows": len(rows)}
    for name in NAMED:
        places: dict[Any, int] = {}
        own = np.array([places.setdefault(row[name], len(places)) for row in rows], PLACES)
        found[name] = json.dumps([*places]).encode() + b"\n" + own.tobytes()
    for name in MEASURED:
        found[name] = np.array([row[name] for row in rows], NUMBERS).tobytes()  # of None it makes NaN
    return found


def unpack_numbers(parts: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """(rows,) a measured column of several blocks."""
    return np.frombuffer(b"".join(parts), NUMBERS)


def unpack_names(parts: Sequence[bytes]) -> tuple[list[Any], Places, Places, npt.NDArray[np.uint16]]:
    """A named column of several blocks: its different values, by part and place the place among these, where each part
    begins there, and (rows,) the places within their parts."""
    texts, places = zip(*(part.split(b"\n", 1) for part in parts), strict=True) if parts else ((), ())
    of_all: dict[Any, int] = {}
    there: list[int] = []
    begin: dict[bytes, int] = {}
    for text in dict.fromkeys(texts):
        begin[text] = len(there)
        there += [of_all.setdefault(value, len(of_all)) for value in from_json(text)]
    begins = np.array([begin[text] for text in texts], np.intp)
    return [*of_all], np.array(there, np.intp), begins, np.frombuffer(b"".join(places), PLACES)


def moment_of(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def at_moment(moment: int) -> datetime:
    """The time of that many microseconds."""
    return _EPOCH + timedelta(microseconds=moment)


def unpacked(session: Session) -> Sequence[str]:
    """Runs whose correlations are there by the row alone, as an older server stores them."""
    runs = values(Correlation.__table__.c.run)
    there = exists().where(CorrelationColumns.run == runs.c.value)
    return session.scalars(select(runs.c.value).where(runs.c.value.is_not(None), ~there)).all()


Watching = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Of how many are to be done it makes what is called with how many more are."""


def unwatched(_: int) -> AbstractContextManager[Callable[[int], None]]:
    """Nobody looks on."""
    return nullcontext(lambda _: None)


def pack_all(engine: Engine, watching: Watching = unwatched) -> None:
    """Store those that are missing, run by run."""
    make_session = sessions(engine)
    with make_session() as session:
        missing = unpacked(session)
    if not missing:
        return
    with watching(len(missing)) as advance:
        for run in missing:
            with suppress(IntegrityError), writing(make_session) as session:  # somebody else did, or deleted it
                store_columns(session, run)
            advance(1)

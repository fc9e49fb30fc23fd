"""Columns in memory: what is made of them is what is made of those just read, whatever comes and goes meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from service.db import history_memory
from service.db.correlation_columns import store_columns, unpacked
from service.db.deleting import delete_conclusions
from service.db.history import Order, rows_page
from service.db.history_columns import Columns, read_columns
from service.db.history_filter import HistoryFilter
from service.db.history_grouping import Agg, Grouping
from service.db.history_groups import groups_page, stream_groups
from service.db.history_memory import keep_columns
from service.db.session import sessions, writing
from service.db.tables import Correlation, CorrelationColumns, RunPrompts
from service.routes.history import HistoryQuery

AT = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
Correlate = Callable[..., str]
SOME: list[dict[str, Any]] = [
    {"scorer": "a", "temperature": None, "policy": None},
    {"scorer": "a", "temperature": 0.5, "estimate": 0.1, "lower": -0.2, "upper": 0.3},
    {"scorer": "b", "undefined_reason": "none has varied"},
    {"scorer": "b", "statistic": "mean", "estimate": 7.5, "standard_error": None, "lower": None, "upper": None},
]


@pytest.fixture
def stored(correlate: Correlate) -> list[str]:
    return [correlate(SOME, AT + timedelta(microseconds=number), ["p", str(number)]) for number in range(3)]


@pytest.fixture
def remembering(make_session: sessionmaker[Session]) -> sessionmaker[Session]:
    remembering = sessions(make_session.kw["bind"])
    keep_columns(remembering, 1000)
    return remembering


def told(make_session: sessionmaker[Session]) -> list[Any]:
    """Of every kind of question."""
    by: list[Any] = ["scorer", "statistic", "temperature", "day"]
    aggs: list[Agg] = ["latest", "min", "max", "mean", "combined", "count"]
    sorted_by_estimate = HistoryQuery(statistic=["pearson_within"], where="lower < 0.5 or scorer == b")
    with make_session() as session:
        groups = [groups_page(session, HistoryFilter(), Grouping(by, agg)).data for agg in aggs]
        by_run = groups_page(session, HistoryQuery(where="name == nightly").filter(), Grouping(["run"], "count")).data
        return [*groups, by_run, rows_page(session, sorted_by_estimate.filter(), Order("estimate")).data]


@contextmanager
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The columns that are read meanwhile, and where they are those of some runs alone this instead."""
    seen: list[str] = []

    def read(session: Session, names: set[str], *asked: Any) -> Columns:
        seen.extend(["those of some"] if asked else names)
        return read_columns(session, names, *asked)

    with monkeypatch.context() as patch:
        patch.setattr(history_memory, "read_columns", read)
        yield seen


def test_columns_are_read_once(
    make_session: sessionmaker[Session],
    remembering: sessionmaker[Session],
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = told(make_session)
    with reading(monkeypatch) as seen:
        assert told(remembering) == expected
        assert told(remembering) == expected
    assert len(seen) == len({*seen}) > 10


def come(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    correlate([{**SOME[0], "scorer": "new", "stratum": "new"}], AT + timedelta(days=1))


def come_late(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    correlate([{**SOME[1], "estimate": 0.9}], AT - timedelta(hours=1), name="nightly")


def go(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    with writing(make_session) as session:
        delete_conclusions(session, stored[1])


def all_go(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    for run in stored:
        with writing(make_session) as session:
            delete_conclusions(session, run)


def be_replaced(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    """By one of as many rows."""
    go(make_session, correlate, stored)
    correlate([{**row, "n_prompts": 3} for row in SOME], AT + timedelta(microseconds=9))


def be_forgotten(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    """What a run was asked, as `assay monitoring forget` does."""
    with writing(make_session) as session:
        session.execute(delete(RunPrompts).where(RunPrompts.run == stored[1]))


def come_again(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    """A run that has rows of two moments, with others between them."""
    later = {**SOME[1], "scorer": "later"}
    with writing(make_session) as session:
        [plain] = session.scalars(select(Correlation).where(Correlation.run == stored[0], Correlation.number == 2))
        copied = {column.name: getattr(plain, column.name) for column in Correlation.__table__.columns}
        at = AT + timedelta(days=1)
        session.add(Correlation(**{**copied, **later, "number": 99, "created_at": at}))
        session.execute(delete(CorrelationColumns).where(CorrelationColumns.run == stored[0]))
        session.flush()
        store_columns(session, stored[0])


def be_unpacked(make_session: sessionmaker[Session], correlate: Correlate, stored: list[str]) -> None:
    """As an older server stores them."""
    new = correlate([{**SOME[0], "scorer": "old"}], AT + timedelta(days=1))
    with writing(make_session) as session:
        session.execute(delete(CorrelationColumns).where(CorrelationColumns.run == new))


@pytest.mark.parametrize("change", [come, come_late, come_again, go, all_go, be_replaced, be_forgotten, be_unpacked])
def test_what_changed_is_seen_at_once(
    make_session: sessionmaker[Session],
    remembering: sessionmaker[Session],
    correlate: Correlate,
    stored: list[str],
    change: Callable[[sessionmaker[Session], Correlate, list[str]], None],
) -> None:
    before = told(remembering)

    change(make_session, correlate, stored)

    after = told(remembering)
    assert after != before
    assert after == told(make_session)


@pytest.mark.parametrize("change", [come, go, be_replaced])
def test_of_what_stayed_nothing_is_read_again(
    make_session: sessionmaker[Session],
    remembering: sessionmaker[Session],
    correlate: Correlate,
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[sessionmaker[Session], Correlate, list[str]], None],
) -> None:
    told(remembering)
    change(make_session, correlate, stored)
    with reading(monkeypatch) as seen:
        assert told(remembering) == told(make_session)
    assert seen == [] if change is go else {*seen} == {"those of some"}


def test_more_values_than_a_byte_tells_apart_stay_apart(
    make_session: sessionmaker[Session], remembering: sessionmaker[Session], correlate: Correlate
) -> None:
    for first, last in ((0, 200), (200, 300), (300, 600)):
        correlate([{"scorer": f"s{number}"} for number in range(first, last)], AT + timedelta(seconds=first))
        with remembering() as session:
            found = [*stream_groups(session, HistoryFilter(), Grouping(["scorer", "statistic"]))]
        assert {each["group"]["scorer"] for each in found} == {f"s{number}" for number in range(last)}
        assert {each["chosen_scorer"] == each["group"]["scorer"] for each in found} == {True}


def test_what_went_is_not_kept_in_mind_for_ever(
    make_session: sessionmaker[Session],
    remembering: sessionmaker[Session],
    correlate: Correlate,
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history_memory, "_FEW", 2)
    known = []
    for number in range(15):
        new = correlate(SOME, AT + timedelta(seconds=number))
        with remembering() as session:
            rows = history_memory.remembered(session, {"scorer"})
        assert rows is not None
        known.append(len(rows.named("run").values))
        with writing(make_session) as session:
            delete_conclusions(session, new)
    assert max(known) <= 2 * (len(stored) + 1) + 2 + 1
    assert known != sorted(known)


def test_a_run_that_is_packed_later_is_kept_then(
    make_session: sessionmaker[Session], remembering: sessionmaker[Session], correlate: Correlate, stored: list[str]
) -> None:
    be_unpacked(make_session, correlate, stored)
    before = told(remembering)
    with remembering() as session:
        [run] = unpacked(session)
    with writing(make_session) as session:
        store_columns(session, run)
    assert told(remembering) == before


def test_more_rows_than_allowed_are_not_kept(
    make_session: sessionmaker[Session],
    correlate: Correlate,
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited = sessions(make_session.kw["bind"])
    keep_columns(limited, len(SOME) * len(stored))
    with reading(monkeypatch) as seen:
        told(limited)
    assert seen
    with reading(monkeypatch) as seen:
        told(limited)
    assert not seen

    correlate(SOME[:1], AT)
    with reading(monkeypatch) as seen:
        assert told(limited) == told(make_session)
    assert not seen


def test_a_run_that_comes_while_columns_are_read_is_in_no_memory(
    make_session: sessionmaker[Session],
    remembering: sessionmaker[Session],
    correlate: Correlate,
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL shows each statement what is there by then."""
    asked_before = history_memory._runs

    def latest(asking: sessionmaker[Session]) -> list[Any]:
        with asking() as session:
            return groups_page(session, HistoryFilter(), Grouping(["scorer", "statistic"])).data

    with remembering() as session:  # some columns are there already, and others are to be read beside them
        groups_page(session, HistoryFilter(), Grouping(["scorer"], "count"))
        old = asked_before(session)
    come(make_session, correlate, stored)
    with monkeypatch.context() as patch:
        patch.setattr(history_memory, "_runs", lambda session: old)
        assert latest(remembering) == latest(make_session)
    assert told(remembering) == told(make_session)


def test_many_ask_while_runs_come_and_go(
    make_session: sessionmaker[Session], remembering: sessionmaker[Session], correlate: Correlate, stored: list[str]
) -> None:
    aggs: list[Agg] = ["count", "latest", "max", "combined"]
    within = HistoryQuery(statistic=["pearson_within"], where="lower > -9 or undefined_reason != null").filter()

    def ask(number: int) -> int:
        with remembering() as session:
            found = groups_page(session, within, Grouping(["run"], aggs[number % 4])).data
        assert {each.n_rows for each in found} == {len(SOME) - 1}
        return len(found)

    with ThreadPoolExecutor(4) as asking:
        seen = asking.map(ask, range(80))
        for number in range(10):
            new = correlate(SOME, AT + timedelta(seconds=number))
            if number % 2:
                with writing(make_session) as session:
                    delete_conclusions(session, new)
        assert {*seen} <= {*range(len(stored), len(stored) + 7)}
    assert ask(0) == len(stored) + 5
    assert told(remembering) == told(make_session)

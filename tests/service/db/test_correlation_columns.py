"""Groups are made of the columns that lie beside correlations, and say the same wherever these come from."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Any, cast

import pytest
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

from service.db import correlation_columns, history_columns
from service.db.correlation_columns import at_moment, moment_of, pack_all, unpacked
from service.db.deleting import delete_conclusions
from service.db.history_filter import HistoryFilter
from service.db.history_grouping import Agg, Grouping
from service.db.history_groups import groups_page
from service.db.schema import prepare, upgrade
from service.db.session import writing
from service.db.tables import CorrelationColumns
from service.routes.history import HistoryQuery

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
Correlate = Callable[..., str]
SOME: list[dict[str, Any]] = [
    {"scorer": "a", "temperature": None, "policy": None, "n_total": 7},
    {"scorer": "a", "temperature": 0.5, "estimate": 0.1, "lower": -0.2, "upper": 0.3, "n_truncated": 0},
    {"scorer": "b", "scorer_version": None, "undefined_reason": 'one "word"\nand a line'},
    {"scorer": "b", "statistic": "mean", "estimate": 1e-7, "standard_error": None, "n_prompts": 3},
    {"scorer": "ü", "stratum": "chat", "oracle": "ifeval", "estimate": -0.9, "lower": -0.95, "upper": -0.8},
]


@pytest.fixture
def stored(correlate: Correlate) -> list[str]:
    return [correlate(SOME, AT + timedelta(microseconds=number), ["p", str(number)]) for number in range(3)]


def told(make_session: sessionmaker[Session]) -> list[Any]:
    """Every number of a group, by a filter that looks at every kind of column."""
    aggs: list[Agg] = ["latest", "min", "max", "mean", "combined", "count"]
    query = HistoryQuery(where="undefined_reason == null or not (n_total > 6 or lower >= 0.2 or method == x)")
    groupings = [
        Grouping(["scorer", "temperature", "statistic", "stratum", "policy", "scorer_version"], agg) for agg in aggs
    ]
    with make_session() as session:
        found = [groups_page(session, query.filter(), each).data for each in groupings]
    assert all(len(groups) == len(SOME) for groups in found)
    return found


def without_columns(make_session: sessionmaker[Session], *runs: str) -> None:
    with writing(make_session) as session:
        session.execute(delete(CorrelationColumns).where(CorrelationColumns.run.in_(runs)))


def blocks(make_session: sessionmaker[Session]) -> int:
    with make_session() as session:
        return session.scalars(select(func.count()).select_from(CorrelationColumns)).one()


def test_runs_without_columns_are_read_from_their_rows(make_session: sessionmaker[Session], stored: list[str]) -> None:
    before = told(make_session)
    for runs in ([stored[1]], stored):
        without_columns(make_session, *runs)
        with make_session() as session:
            assert sorted(unpacked(session)) == sorted(runs)
        assert told(make_session) == before


@pytest.mark.parametrize("opened_by", [upgrade, prepare])
def test_what_is_missing_is_packed_when_the_database_is_opened(
    make_session: sessionmaker[Session], engine: Engine, stored: list[str], opened_by: Callable[[Engine], None]
) -> None:
    before, n_blocks = told(make_session), blocks(make_session)
    without_columns(make_session, *stored[1:])
    assert blocks(make_session) < n_blocks

    opened_by(engine)

    assert blocks(make_session) == n_blocks
    assert told(make_session) == before


def test_who_upgrades_sees_how_far_it_is(
    make_session: sessionmaker[Session], engine: Engine, stored: list[str]
) -> None:
    without_columns(make_session, *stored[1:])
    seen: list[int] = []

    @contextmanager
    def watching(total: int) -> Iterator[Callable[[int], None]]:
        seen.append(total)
        yield seen.append

    upgrade(engine, watching)
    upgrade(engine, watching)

    assert seen == [2, 1, 1]


def test_two_that_pack_at_once_pack_once(
    make_session: sessionmaker[Session], engine: Engine, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_blocks = blocks(make_session)
    without_columns(make_session, stored[2])
    monkeypatch.setattr(correlation_columns, "unpacked", lambda session: stored)  # as it was before the other began

    pack_all(engine)

    assert blocks(make_session) == n_blocks


def test_many_rows_are_several_blocks(
    make_session: sessionmaker[Session], engine: Engine, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, n_blocks = told(make_session), blocks(make_session)
    without_columns(make_session, *stored)
    monkeypatch.setattr(correlation_columns, "_MOST_ROWS", 2)

    pack_all(engine)

    assert blocks(make_session) == n_blocks + len(stored)  # four rows of one statistic
    assert told(make_session) == before


def test_columns_go_with_their_run(make_session: sessionmaker[Session], stored: list[str]) -> None:
    n_blocks = blocks(make_session)
    with writing(make_session) as session:
        delete_conclusions(session, stored[0])

    assert blocks(make_session) == n_blocks * 2 // 3


@pytest.mark.parametrize("descending", [False, True])
def test_a_page_after_a_group_that_is_gone_begins_where_it_was(
    make_session: sessionmaker[Session], stored: list[str], descending: bool
) -> None:
    grouping = Grouping(["run"], "count", first="run", descending=descending)
    in_order = sorted(stored, reverse=descending)
    with make_session() as session:
        first = groups_page(session, HistoryFilter(), grouping, limit=2)
    with writing(make_session) as session:
        delete_conclusions(session, in_order[1])

    with make_session() as session:
        rest = groups_page(session, HistoryFilter(), grouping, cursor=first.next)
    assert [each.group["run"] for each in (*first.data, *rest.data)] == in_order
    assert rest.next is None


def test_who_waits_for_a_turn_has_a_connection_already(
    make_session: sessionmaker[Session], engine: Engine, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, pool = BoundedSemaphore(1), cast("QueuePool", engine.pool)
    monkeypatch.setattr(history_columns, "_TURNS", turns)
    with ThreadPoolExecutor(1) as other, turns:
        waiting = other.submit(told, make_session)
        for _ in range(1000):
            if n_connections := pool.checkedout():
                break
            time.sleep(0.01)
        turns.release()
        assert waiting.result(timeout=30)
        turns.acquire()
    assert n_connections == 1  # or who has one waits for a turn, and who has the turn waits for a connection


@pytest.mark.parametrize("text", ["2026-11-26T09:30:00.000001+00:00", "1969-12-31T23:59:59.999999+00:00"])
def test_a_time_is_kept_to_the_microsecond(text: str) -> None:
    at = datetime.fromisoformat(text)
    assert at_moment(moment_of(at)) == at

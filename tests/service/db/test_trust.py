"""What runs are compared by is what reading all their correlations finds, and goes with them."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from evaluation.scorers.controls import is_control
from service.db.queries import CorrelationFilter, correlations
from service.db.records import CorrelationRecord
from service.db.runs import RunFilter, list_runs
from service.db.schema import upgrade
from service.db.session import writing
from service.db.tables import Table, WeakestAgreement
from service.db.trust import latest_by_scorer, latest_runs, leading_by_run

Correlate = Callable[..., str]
Measured = dict[str, list[CorrelationRecord]]
"""By run, the newest first: its agreements within prompts where they may be weakest."""

KINDS = ("stress_test", "audit")
NEW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def session(make_session: sessionmaker[Session]) -> Iterator[Session]:
    with make_session() as session:
        yield session


@pytest.fixture
def runs(correlate: Correlate) -> dict[str, str]:
    """Kinds by id: 12 runs at random, with ties, missing intervals, controls, versions, self-agreement and strata."""
    made = random.Random(7)
    found = {}
    for number in range(12):
        rows: list[dict[str, Any]] = []
        for scorer, version, oracle, temperature, stratum, statistic in product(
            *(("a", "b", "length", "c:untrained"), (None, 1), ("judge", "b"), (None, 1.0, 2.0)),
            *(("all", "non_degenerate"), ("pearson_within", "pearson_pooled")),
        ):
            if made.random() < 0.4:
                continue
            row = {"scorer": scorer, "scorer_version": version, "oracle": oracle, "temperature": temperature}
            lower = round(made.uniform(-1, 1), 1)
            numbers = {"lower": lower, "upper": 1.0} if made.random() < 0.8 else {"undefined_reason": "constant"}
            rows.append({**row, **numbers, "stratum": stratum, "statistic": statistic})
        made.shuffle(rows)
        kind = made.choice(KINDS)
        found[correlate(rows, NEW - timedelta(days=number // 2), kind=kind)] = kind
    return found


def measured(session: Session, runs: dict[str, str], known: Callable[[CorrelationRecord], bool]) -> Measured:
    """By hand, from every row."""
    everything = correlations(session, CorrelationFilter(statistics=["pearson_within"], strata=["all"]))
    newest = sorted(runs, key=lambda run: (next(row.created_at for row in everything if row.run == run), run))
    return {
        run: [
            row
            for row in everything
            if row.run == run and row.scorer != row.oracle and known(row)
            if row.temperature is not None or runs[run] != "stress_test"
        ]
        for run in reversed(newest)
    }


def leader(rows: list[CorrelationRecord]) -> CorrelationRecord | None:
    """The greatest of scorers' least lower ends; of equals the first in the file, where min and max look first."""
    weakest: dict[tuple[str, int | None], CorrelationRecord] = {}
    for row in rows:
        now = weakest.setdefault((row.scorer, row.scorer_version), row)
        if row.lower is not None and (now.lower is None or row.lower < now.lower):
            weakest[row.scorer, row.scorer_version] = row
    known = [row for row in rows if row in weakest.values() and row.lower is not None]
    return max(known, key=lambda row: row.lower or 0.0, default=None)


ASKED: list[tuple[dict[str, str], Callable[[CorrelationRecord], bool]]] = [
    ({}, lambda row: not is_control(row.scorer)),
    ({"oracle": "b"}, lambda row: not is_control(row.scorer) and row.oracle == "b"),
    ({"scorer": "b"}, lambda row: row.scorer == "b"),
    ({"scorer": "a@1"}, lambda row: (row.scorer, row.scorer_version) == ("a", 1)),
    ({"scorer": "length", "oracle": "judge"}, lambda row: (row.scorer, row.oracle) == ("length", "judge")),
]


@pytest.mark.parametrize(("asked", "known"), ASKED)
def test_runs_lead_by_what_all_their_rows_say(
    session: Session, runs: dict[str, str], asked: dict[str, str], known: Callable[[CorrelationRecord], bool]
) -> None:
    by_hand = {run: leader(rows) for run, rows in measured(session, runs, known).items()}

    assert leading_by_run(session, list(runs), **asked) == {run: row for run, row in by_hand.items() if row}

    fitting = [run for run, rows in measured(session, runs, known).items() if rows or not asked]
    lowers = {run: row.lower if (row := by_hand[run]) else None for run in fitting}
    for sort, missing, sign in (("surest", -9.0, -1), ("least_sure", 9.0, 1)):
        expected = sorted(fitting, key=lambda run: run, reverse=sort == "surest")
        expected.sort(key=lambda run: sign * (missing if lowers[run] is None else lowers[run]))
        assert pages(session, asked, sort) == expected
        assert len(set(lowers.values())) > 2


def pages(session: Session, asked: dict[str, str], sort: Any) -> list[str]:
    """Ids of all pages, five at a time."""
    seen: list[str] = []
    cursor = None
    while True:
        page = list_runs(session, RunFilter(KINDS, **asked), sort=sort, cursor=cursor, limit=5)  # type: ignore[arg-type]
        seen += [run.id for run in page.data]
        cursor = page.next
        if cursor is None:
            return seen


def test_scorers_are_told_where_the_latest_run_with_an_interval_finds_them_weakest(
    session: Session, runs: dict[str, str]
) -> None:
    newest_first = measured(session, runs, lambda row: not is_control(row.scorer))
    weakest: dict[tuple[str, int | None, str], CorrelationRecord] = {}
    for rows in newest_first.values():
        here: dict[tuple[str, int | None, str], CorrelationRecord] = {}
        for row in rows:
            key = (row.scorer, row.scorer_version, row.oracle)
            now = here.setdefault(key, row)
            if row.lower is not None and (now.lower is None or row.lower < now.lower):
                here[key] = row
        for key, row in here.items():
            if key not in weakest or (weakest[key].lower is None and row.lower is not None):
                weakest[key] = row

    latest = latest_runs(session, kinds=KINDS, most=100, but="x:")
    assert latest == list(newest_first)
    found = latest_by_scorer(session, latest)
    assert {(row.scorer, row.scorer_version, row.oracle): row for row in found} == weakest
    assert [row.oracle for row in found] == sorted(row.oracle for row in found)


def test_what_follows_from_a_run_goes_with_it(make_session: sessionmaker[Session], correlate: Correlate) -> None:
    gone, kept = (correlate([{"temperature": 1.0}, {"temperature": 2.0, "lower": 0.1}]) for _ in range(2))
    with writing(make_session) as session:
        session.execute(text("DELETE FROM jobs WHERE id = :run"), {"run": gone})
    with make_session() as session:
        [row] = session.scalars(select(WeakestAgreement))
    assert (row.run, row.number, row.lower) == (kept, 2, 0.1)


def test_runs_stored_before_are_compared_like_those_stored_now(
    engine: Engine, make_session: sessionmaker[Session], runs: dict[str, str]
) -> None:
    columns = Table.metadata.tables[WeakestAgreement.__tablename__].columns

    def stored() -> set[tuple[Any, ...]]:
        with make_session() as session:
            return {tuple(row) for row in session.execute(select(*columns))}

    before = stored()
    assert len({row[0] for row in before}) == len(runs)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[3] / "alembic"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0011")
    upgrade(engine)
    assert stored() == before

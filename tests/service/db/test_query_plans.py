"""What is asked of a million correlations is looked up in an index, on both databases: speed that a test can hold."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from service.db.history import Order, fingerprint, rows_page
from service.db.history_choices import scorers_of, values_of
from service.db.history_filter import HistoryFilter
from service.db.history_grouping import Grouping
from service.db.history_groups import groups_page
from service.db.runs import RunFilter, list_runs
from service.db.trust import latest_by_scorer, leading_by_run
from service.routes.history import HistoryQuery

Ask = Callable[[Session], Any]
Statement = tuple[str, Any]

NEWEST = Order()
TABLES = "correlations|correlation_columns|weakest_agreements"
KINDS = ("stress_test", "audit")
ABOUT = {"statistic": ["pearson_within"], "oracle": ["judge"], "stratum": ["all"]}
WEEKS = Grouping(["week", "scorer"], "combined", first="week", descending=True)


def rows(order: Order = NEWEST, /, **asked: Any) -> Ask:
    return lambda session: rows_page(session, HistoryQuery(**asked).filter(), order)


def groups(grouping: Grouping, /, **asked: Any) -> Ask:
    return lambda session: groups_page(session, HistoryQuery(**asked).filter(), grouping)


IN_COLUMNS = {"correlation_columns": "pk run_moment_n_rows", "correlations": "pk"}
"""Groups look up the columns of a statistic, runs that have none, and the rows that they are told by."""

ASKED: dict[str, tuple[Ask, dict[str, str]]] = {
    "the newest": (rows(), {"correlations": "newest"}),
    "the oldest": (rows(Order(descending=False)), {"correlations": "newest"}),
    "of a statistic": (rows(statistic=["mean"]), {"correlations": "newest_of_statistic"}),
    "of a scorer": (rows(scorer=["rm"]), {"correlations": "newest_of_scorer"}),
    "of a scorer's version": (rows(scorer=["rm"], scorer_version=[1]), {"correlations": "newest_of_version"}),
    "of a policy": (rows(policy=["p@1"]), {"correlations": "newest_of_policy"}),
    "of a scorer and statistic": (
        rows(scorer=["rm"], statistic=["mean"]),
        {"correlations": "newest_of_statistic_and_scorer"},
    ),
    "of one thing": (rows(**ABOUT, temperature=[1.0]), {"correlations": "asked"}),
    "of a statistic, by estimate": (rows(Order("estimate"), statistic=["pearson_within"]), IN_COLUMNS),
    "of a statistic, by a condition": (
        rows(statistic=["pearson_within"], where="n_total > 7 or upper < 0"),
        IN_COLUMNS,
    ),
    "weeks of one thing": (groups(WEEKS, **ABOUT, temperature=["pooled"]), IN_COLUMNS),
    "the latest of each scorer": (groups(Grouping(["scorer"]), statistic=["pearson_within"]), IN_COLUMNS),
    "the least of each scorer in one run": (
        groups(Grouping(["scorer", "statistic"], "min"), run=["run_a"]),
        IN_COLUMNS | {"correlation_columns": "run_moment_n_rows"},
    ),
    "oracles to choose from": (
        lambda session: values_of(session, "oracle", statistic="mean"),
        {"correlations": "asked"},
    ),
    "scorers to choose from": (
        lambda session: scorers_of(session, statistic="mean", oracle="judge", stratum="all", temperature=None),
        {"correlations": "asked"},
    ),
    "whether anything has changed": (
        lambda session: fingerprint(session, HistoryFilter()),
        {"correlations": "pk"},
    ),
    "runs, the surest first": (
        lambda session: list_runs(session, RunFilter(KINDS), sort="surest"),
        {"weakest_agreements": "pk"},
    ),
    "runs of a scorer, the least sure first": (
        lambda session: list_runs(session, RunFilter(KINDS, scorer="rm@1"), sort="least_sure"),
        {"weakest_agreements": "pk scorer_run"},
    ),
    "who leads in some runs": (
        lambda session: leading_by_run(session, ["run_a", "run_b"]),
        {"weakest_agreements": "pk", "correlations": "pk"},
    ),
    "what is trusted now": (
        lambda session: latest_by_scorer(session, ["run_a", "run_b"]),
        {"weakest_agreements": "pk", "correlations": "pk"},
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_is_looked_up(
    make_session: sessionmaker[Session], correlate: Callable[..., str], name: str
) -> None:
    for run in ("run_a", "run_b"):
        correlate([{"temperature": t} for t in (None, 1.0)], datetime(2026, 11, 26, tzinfo=UTC), id=run)
    ask, expected = ASKED[name]

    with make_session() as session:
        with statements(session) as sent:
            ask(session)
        lines = [line for statement in sent for line in plan(session, statement)]
    used: dict[str, set[str]] = {}
    for line in lines:
        assert not re.search(rf"(SCAN|Seq Scan on) ({TABLES})\b(?! USING)", line), lines
        for table, index in lookups(line):
            used.setdefault(table, set()).add(index)
    wanted = {table: set(indexes.split()) for table, indexes in expected.items()}
    if make_session.kw["bind"].dialect.name == "sqlite":
        assert used == wanted, lines
    else:  # of two rows PostgreSQL finds many indexes equally good
        assert used.keys() == wanted.keys(), lines
    if name in {
        "the newest",
        "the oldest",
        "of a statistic",
        "of a scorer",
        "of a scorer's version",
        "of a policy",
        "of a scorer and statistic",
    }:
        assert not [line for line in lines if "TEMP B-TREE" in line or "Sort" in line], lines


@contextmanager
def statements(session: Session) -> Iterator[list[Statement]]:
    """What is sent meanwhile."""
    sent: list[Statement] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        sent.append((statement, parameters))

    event.listen(session.get_bind(), "before_cursor_execute", note)
    yield sent
    event.remove(session.get_bind(), "before_cursor_execute", note)


def plan(session: Session, statement: Statement) -> list[str]:
    """How it is found. PostgreSQL reads tables of a few rows at once where it may, which says nothing of many."""
    text, parameters = statement
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)]
    for method in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
        connection.exec_driver_sql(f"SET LOCAL enable_{method} = off")
    return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", parameters)]


def lookups(line: str) -> list[tuple[str, str]]:
    """Tables and the indexes on them, by what follows the table's name in the index's."""
    names = re.findall(r"USING (?:COVERING )?INDEX (\w+)|Index (?:Only )?Scan(?: Backward)? using (\w+) on", line)
    found = []
    for name in (sqlite or postgresql for sqlite, postgresql in names):
        own = re.fullmatch(rf"(ix_|pk_|sqlite_autoindex_)({TABLES})(?:_(\w+))?", name)
        if own is not None:
            found.append((own[2], own[3] if own[1] == "ix_" else "pk"))
    return found

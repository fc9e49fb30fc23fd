"""Lists found in columns, read or remembered, are those that the database finds by itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db import history
from service.db.history import Order, rows_page
from service.db.history_memory import keep_columns
from service.db.records import CorrelationRecord
from service.db.session import sessions
from service.routes.history import HistoryQuery

AT = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
Correlate = Callable[..., str]
SOME: list[dict[str, Any]] = [
    {"scorer": "a", "temperature": None, "policy": None, "n_responses": 7},
    {"scorer": "a", "temperature": 0.5, "estimate": 0.1, "lower": -0.2, "upper": 0.3},
    {"scorer": "b", "scorer_version": None, "undefined_reason": "none has varied"},
    {"scorer": "b", "statistic": "mean", "estimate": 1e-7, "standard_error": None, "n_prompts": 3},
    {"scorer": "ü", "stratum": "chat", "oracle": "ifeval", "estimate": -0.9, "lower": -0.95, "upper": -0.8},
]
NUMBERS = ["estimate", "lower", "upper", "n_prompts", "n_responses", "temperature", "scorer_version", "created_at"]
CASES = [(HistoryQuery(statistic=["pearson_within", "mean"], where="not scorer == nobody"), name) for name in NUMBERS]
REMEMBERED = [
    *((HistoryQuery(), name) for name in NUMBERS if name != "created_at"),
    *(
        (query, "created_at")
        for query in (
            HistoryQuery(where="lower > -0.5 or scorer == b"),
            HistoryQuery(stratum=["chat"]),
            HistoryQuery(oracle=["judge"], policy=["p@1"]),
            HistoryQuery(temperature=["pooled", 0.5]),
            HistoryQuery(temperature_min=0.5),
            HistoryQuery(label=["team=search"], scorer=["a"]),
            HistoryQuery(run=["run_1", "run_2"]),
            HistoryQuery(name=["nightly"]),
            HistoryQuery(stratum=["nowhere"]),
        )
    ),
]


@pytest.fixture
def stored(correlate: Correlate) -> None:
    """Two of the three runs are of the same moment."""
    for number, team in enumerate(("search", "chat", "search")):
        at = AT + timedelta(microseconds=number // 2)
        correlate(SOME, at, ["p", str(number)], id=f"run_{number}", labels={"team": team})


def listed(make_session: sessionmaker[Session], query: HistoryQuery, order: Order) -> list[CorrelationRecord]:
    rows, cursor = [], None
    with make_session() as session:
        while True:
            page = rows_page(session, query.filter(), order, cursor=cursor, limit=2)
            rows += page.data
            assert len(rows) <= 3 * len(SOME)  # or pages begin where they ended
            if (cursor := page.next) is None:
                return rows


def found_by(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], list[CorrelationRecord]]
) -> tuple[list[Any], set[bool]]:
    """The list, and whether columns had it."""
    there = set()

    def watched(*given: Any, **options: Any) -> Any:
        page = sorted_page(*given, **options)
        there.add(page is not None)
        return page

    sorted_page = history.sorted_page
    with monkeypatch.context() as patch:
        patch.setattr(history, "sorted_page", watched)
        return ask(), there


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("query", "name", "remembers"),
    [
        *((*case, False) for case in CASES),
        *((*case, True) for case in [*CASES, *REMEMBERED]),
    ],
)
def test_a_list_is_the_same_whether_columns_or_the_database_have_it(
    make_session: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
    query: HistoryQuery,
    name: str,
    descending: bool,
    remembers: bool,
) -> None:
    asking = sessions(make_session.kw["bind"])
    if remembers:
        keep_columns(asking, 1000)
    found, by_columns = found_by(monkeypatch, lambda: listed(asking, query, Order(name, descending)))
    assert by_columns == {True}

    monkeypatch.setattr(history, "sorted_page", lambda *_, **__: None)
    assert found == listed(make_session, query, Order(name, descending))


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("query", "order"),
    [
        (HistoryQuery(), Order()),
        (HistoryQuery(scorer=["a"]), Order()),
        (HistoryQuery(scorer=["a"], scorer_version=[1]), Order()),
        (HistoryQuery(policy=["p@1"]), Order("created_at", False)),
        (HistoryQuery(where="lower > 0"), Order("scorer")),
        (HistoryQuery(statistic=["mean"], oracle=["judge"], stratum=["all"], temperature=[0.5]), Order("estimate")),
    ],
)
def test_what_an_index_has_in_order_is_left_to_it(
    make_session: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, query: HistoryQuery, order: Order
) -> None:
    keep_columns(make_session, 1000)
    _, by_columns = found_by(monkeypatch, lambda: listed(make_session, query, order))
    assert by_columns == {False}

"""What the history's benchmark prints is the table of the documentation, of requests that all differ."""

import random

from benchmarks.history import Spent, table
from benchmarks.history_database import Size
from benchmarks.history_requests import asked


def test_a_row_has_both_databases_and_what_is_past_the_goal_in_bold() -> None:
    calm, late = Spent([10.0] * 20, 7.6), Spent([20.0] * 18 + [150.0] * 2, 31.2)

    assert list(table({"SQLite": {"page `/`": calm}, "PostgreSQL": {"page `/`": late}})) == [
        "| what is asked | SQLite p50, p95 | processors | PostgreSQL p50, p95 | processors |",
        "|---|---|---|---|---|",
        "| page `/` | 10, 10 | 8 | 20, **150** | 31 |",
    ]


def test_every_kind_of_request_asks_for_something_else() -> None:
    addresses = [ask(random.Random(1)) for ask in asked(Size(1_000_000, 10_000_000)).values()]
    assert len(set(addresses)) == len(addresses) > 50
    assert all(address.startswith("/") for address in addresses)

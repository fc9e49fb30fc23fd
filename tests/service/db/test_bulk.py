"""Many rows at once are the rows that one statement each would have stored."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from service.db.bulk import insert_rows
from service.db.session import writing
from service.db.tables import JobEvent, Prompt, Response, Table

EVENTS = Table.metadata.tables[JobEvent.__tablename__]
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def event(job: str, sequence: int, data: dict[str, Any]) -> dict[str, Any]:
    """Not in the order of the table's columns."""
    return {"data": data, "type": "message", "sequence": sequence, "time": AT, "job": job}


def test_every_type_of_column_is_stored_as_by_a_statement(
    make_session: sessionmaker[Session], add_job: Callable[..., str]
) -> None:
    ours, theirs = add_job(), add_job()
    data = [{"text": 'tab\t, backslash \\N, newline\n, "quotes", é, 字'}, {"n": 0.1, "none": None}, {}]
    with writing(make_session) as session:
        assert insert_rows(session, EVENTS, [event(ours, n, each) for n, each in enumerate(data)]) == 3
        session.execute(insert(EVENTS), [event(theirs, n, each) for n, each in enumerate(data)])

    with make_session() as session:
        stored = {
            job: [
                (row.sequence, row.time, row.type, row.data)
                for row in session.scalars(select(JobEvent).where(JobEvent.job == job).order_by(JobEvent.sequence))
            ]
            for job in (ours, theirs)
        }
    assert stored[ours] == stored[theirs] == [(n, AT, "message", each) for n, each in enumerate(data)]


def test_what_no_database_can_hold_is_replaced_and_missing_values_are_null(
    make_session: sessionmaker[Session], add_job: Callable[..., str]
) -> None:
    run = add_job()
    prompt = {"run": run, "number": 1, "prompt_id": "p", "content": "Hello", "task": None}
    missing = {"tokens": None, "finish_reason": None, "mean_logprob": None, "sampler": None}
    response = {"run": run, "number": 1, "prompt": 1, "temperature": 0.1 + 0.2, "replicate": 0, "response": "a\x00b"}
    with writing(make_session) as session:
        insert_rows(session, Table.metadata.tables["prompts"], [prompt])
        insert_rows(session, Table.metadata.tables["responses"], [{**response, **missing}])

    with make_session() as session:
        row = session.get_one(Response, (run, 1))
        assert (row.response, row.temperature, row.tokens, row.sampler) == ("a\ufffdb", 0.30000000000000004, None, None)
        assert session.scalar(select(func.count()).select_from(Prompt).where(Prompt.task.is_(None))) == 1


def test_a_row_that_is_refused_leaves_none_and_the_database_usable(
    make_session: sessionmaker[Session], add_job: Callable[..., str]
) -> None:
    job = add_job()
    rows = [event(job, n, {}) for n in (1, 2, 2)]

    with pytest.raises(IntegrityError), writing(make_session) as session:
        insert_rows(session, EVENTS, rows)

    with writing(make_session) as session:
        assert insert_rows(session, EVENTS, rows[:2]) == 2
        assert insert_rows(session, EVENTS, []) == 0
    with make_session() as session:
        assert session.scalar(select(func.count()).select_from(JobEvent)) == 2

"""Servers of a PostgreSQL share its clock, whatever theirs say; a SQLite file's have one that may jump."""

from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db import clock
from service.db.session import writing
from service.db.workers import present, register
from service.slots import Machine


def set_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Let this server's clock be so many hours ahead."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return cls.fromtimestamp((datetime.now(tz) + timedelta(hours=hours)).timestamp(), tz)

    monkeypatch.setattr(clock, "datetime", Wrong)


@pytest.mark.parametrize("hours", [5, -5])
def test_a_server_with_a_wrong_clock_is_heard_of_where_the_database_has_its_own(
    make_session: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    with writing(make_session) as session:
        set_clock(monkeypatch, hours)
        register(session, "wrong", Machine(places=1, gpus=()))
        monkeypatch.undo()
        register(session, "right", Machine(places=1, gpus=()))

    with make_session() as session:
        heard = ["right", "wrong"] if session.get_bind().dialect.name == "postgresql" else ["right"]
        assert list(present(session)) == heard


def test_the_time_is_an_instant_of_now(make_session: sessionmaker[Session]) -> None:
    with make_session() as session:
        told = clock.now(session)
    assert told.tzinfo is UTC
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=60)

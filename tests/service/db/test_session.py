"""Threads share a database without losing writes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import make_engine, writing
from service.db.tables import Job, JobEvent


def test_a_block_that_raises_changes_nothing(make_session: sessionmaker[Session], add_job: Callable[..., str]) -> None:
    job = add_job()

    def fail(session: Session) -> None:
        session.get_one(Job, job).attempts = 7
        session.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), writing(make_session) as session:
        fail(session)

    with make_session() as session:
        assert session.get_one(Job, job).attempts == 0


def test_writers_that_read_first_wait_for_each_other(
    make_session: sessionmaker[Session], add_job: Callable[..., str]
) -> None:
    job = add_job()

    def increment(_: int) -> None:
        with writing(make_session) as session:
            row = session.scalars(select(Job).where(Job.id == job).with_for_update()).one()
            row.attempts += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(40)))

    with make_session() as session:
        assert session.get_one(Job, job).attempts == 40


def test_foreign_keys_hold(make_session: sessionmaker[Session]) -> None:
    with pytest.raises(IntegrityError), writing(make_session) as session:
        session.execute(text("INSERT INTO job_metrics VALUES ('nobody', 'train', 'loss', 1, 0.5)"))


def test_a_time_without_a_zone_is_refused(make_session: sessionmaker[Session], add_job: Callable[..., str]) -> None:
    event = JobEvent(job=add_job(), sequence=1, time=datetime(2026, 1, 1), type="message", data={})

    with pytest.raises(StatementError, match="no time zone"), writing(make_session) as session:
        session.add(event)


def test_sqlite_lets_readers_read_while_somebody_writes(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/new/directory/assay.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL: a commit outlasts a power cut
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    engine.dispose()


def test_a_new_sqlite_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "assay.db"
    engine = make_engine(f"sqlite:///{path}")
    assert not path.exists()

    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE a (b)")
        connection.commit()
        files = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}

    assert files == {"assay.db": 0o600, "assay.db-wal": 0o600, "assay.db-shm": 0o600}

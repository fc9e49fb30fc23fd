"""What an operator is told of a PostgreSQL that answers with a failure, and of one that does not answer."""

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from service.cli.program import main
from service.db.failures import database_failure
from trainer.errors import AssayError, Overloaded, StorageFailure


def _failure(error: psycopg.Error) -> AssayError:
    return database_failure(OperationalError("INSERT", {}, error))


def test_a_full_disk_of_the_database_is_told_as_one() -> None:
    said = _failure(psycopg.errors.DiskFull('could not extend file "base/5/1": No space left on device'))
    assert isinstance(said, StorageFailure)
    assert said.detail == "the database's disk is full; free space"


def test_a_server_that_answered_is_not_said_to_be_away() -> None:
    said = _failure(psycopg.errors.DeadlockDetected("deadlock detected\nDETAIL:  Process 1 waits"))
    assert isinstance(said, Overloaded)
    assert said.detail == "the database cannot do this now (deadlock detected); try again"


def test_a_command_says_why_there_is_no_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSAY_DATABASE_URL", "postgresql://127.0.0.1:1/assay?connect_timeout=1")
    assert main(["db", "check"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("assay: the database does not answer; check that it runs and its URL")
    assert "Connection refused" in told
    assert told.count("\n") == 1

"""A database is brought to this code's migration, or refused with one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from evaluation.prompt_marks import mark_of
from service.db.schema import check, prepare, upgrade
from service.db.session import make_engine, sessions
from service.db.tables import RunPrompts, Table
from trainer.errors import AssayError, InvalidInput, StorageFailure, WrongSchema

CONTRACT_TABLES = {
    "artifacts",
    "aliases",
    "jobs",
    "job_events",
    "job_metrics",
    "stress_tests",
    "prompts",
    "responses",
    "scores",
    "correlations",
    "curves",
    "browser_sessions",
    "comparisons",
    "api_keys",
    "served_scores",
    "monitored_scorers",
    "alerts",
    "drifts",
}


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url)
    yield engine
    engine.dispose()


def run_alembic(engine: Engine, run: str, *arguments: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[3] / "alembic"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        getattr(command, run)(config, *arguments)


def test_an_upgrade_makes_the_tables_of_the_code_and_a_second_one_changes_nothing(empty: Engine) -> None:
    upgrade(empty)
    upgrade(empty)

    # who carries out jobs now, what runs were asked, and what follows from correlations; nothing of it is a result
    expected = CONTRACT_TABLES | {"workers", "run_prompts", "weakest_agreements", "correlation_columns"}
    assert set(inspect(empty).get_table_names()) - {"alembic_version"} == expected
    assert Table.metadata.tables.keys() == expected
    check(empty)
    run_alembic(empty, "check")  # raises if a migration would be generated


def test_a_downgrade_leaves_nothing_and_can_be_undone(empty: Engine) -> None:
    upgrade(empty)

    run_alembic(empty, "downgrade", "base")

    assert set(inspect(empty).get_table_names()) == {"alembic_version"}
    upgrade(empty)
    check(empty)


def test_a_database_without_tables_is_refused_but_prepared(empty: Engine) -> None:
    with pytest.raises(WrongSchema, match=r"at migration none .* run `assay db upgrade`"):
        check(empty)

    prepare(empty)

    check(empty)


def test_a_database_from_the_future_is_refused_by_everything(empty: Engine) -> None:
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    for refusal in (check, upgrade, prepare):
        with pytest.raises(WrongSchema, match="9999, which this version does not know"):
            refusal(empty)


def test_prepare_does_not_migrate_a_database_in_use(empty: Engine) -> None:
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))

    with pytest.raises(WrongSchema, match="at migration none"):
        prepare(empty)


@pytest.mark.parametrize("url", ["mysql://localhost/assay", "sqlite://", "sqlite:///:memory:", "not a url", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"sqlite:///assay\.db or postgresql://"):
        make_engine(url)


def test_a_server_that_does_not_answer_is_one_line() -> None:
    engine = make_engine("postgresql://127.0.0.1:1/assay?connect_timeout=1")

    with pytest.raises(AssayError, match="does not answer"):
        check(engine)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "assay.db").write_text("this is not a database, only some text that is long enough")

    with pytest.raises(StorageFailure, match="not a database"):
        upgrade(make_engine(f"sqlite:///{tmp_path / 'assay.db'}"))


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageFailure, match="cannot write"):
        make_engine(f"sqlite:///{tmp_path}/file/assay.db")


def test_runs_stored_before_prompts_were_compared_are_compared_from_then_on(empty: Engine) -> None:
    run_alembic(empty, "upgrade", "0006")
    job = (
        "INSERT INTO jobs (id, kind, name, status, recipe, recipe_digest, labels, executor, attempts, max_attempts,"
        " events_seen, code_version, created_at) VALUES (:run, 'stress_test', 'n', 'succeeded', '{}', '', '{}',"
        " 'local', 1, 1, 0, '0', '2026-01-01 00:00:00')"
    )
    prompt = "INSERT INTO prompts (run, number, prompt_id, content) VALUES (:run, :number, :prompt_id, :content)"
    asked: dict[str, list[Any]] = {"run_a": ["x", "y"], "run_b": ["y", "x"], "run_c": ["x", [{"role": "user"}]]}
    with empty.begin() as connection:
        for run in (*asked, "run_audit"):
            connection.execute(text(job), {"run": run})
        for run, contents in asked.items():
            for number, content in enumerate(contents, 1):
                row = {"run": run, "number": number, "prompt_id": f"p{number}", "content": json.dumps(content)}
                connection.execute(text(prompt), row)
    upgrade(empty)

    with sessions(empty)() as session:
        found = {row.run: row for row in session.scalars(select(RunPrompts))}
    assert found.keys() == asked.keys()
    assert found["run_a"].digest == found["run_b"].digest != found["run_c"].digest
    assert found["run_c"].marks == "".join(sorted(mark_of(each, "") for each in asked["run_c"]))


def test_alerts_outlive_the_migration_that_admits_a_new_kind_and_no_other(empty: Engine) -> None:
    run_alembic(empty, "upgrade", "0008")
    columns = "id, open_key, kind, scorer, subject, lower, threshold, detail, raised_at, tell_after, attempts"
    insert = f"INSERT INTO alerts ({columns}) VALUES (:id, :key, :kind, 's', 'o', 0, 0, '', :at, :at, 0)"
    at = "2026-05-04 12:00:00"
    with empty.begin() as connection:
        connection.execute(text(insert), {"id": "old", "key": "old", "kind": "drift", "at": at})

    upgrade(empty)

    with empty.begin() as connection:
        connection.execute(text(insert), {"id": "new", "key": "new", "kind": "stale", "at": at})
    with pytest.raises(IntegrityError, match=r"(?i)check"), empty.begin() as connection:
        connection.execute(text(insert), {"id": "odd", "key": "odd", "kind": "other", "at": at})
    with pytest.raises(IntegrityError, match=r"(?i)unique"), empty.begin() as connection:
        connection.execute(text(insert), {"id": "odd", "key": "new", "kind": "drift", "at": at})
    run_alembic(empty, "downgrade", "0008")
    with empty.connect() as connection:
        assert connection.scalars(text("SELECT id FROM alerts")).all() == ["old"], "older versions know no other"

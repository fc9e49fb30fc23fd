"""`assay db` brings a database to this version's migration and tells whether it is there."""

from pathlib import Path

import pytest
from sqlalchemy import text

from service.cli import main
from service.db.session import make_engine


def test_a_database_is_checked_upgraded_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--database-url", f"sqlite:///{tmp_path / 'assay.db'}"]

    assert main(["db", "check", *url]) == 2
    assert "run `assay db upgrade`" in capsys.readouterr().err
    assert main(["db", "upgrade", *url]) == 0
    assert main(["db", "check", *url]) == 0


def test_serving_refuses_a_database_at_another_migration_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'assay.db'}"
    main(["db", "upgrade", "--database-url", url])
    with make_engine(url).begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    capsys.readouterr()

    assert main(["serve", "--port", "0", "--database-url", url]) == 2
    said = capsys.readouterr().err
    assert "run `assay db upgrade`" in said
    assert said.count("\n") == 1

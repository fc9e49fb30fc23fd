"""`assay db` brings a database to this version's migration and tells whether it is there."""

import json
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


def test_what_is_exported_and_stored_again_is_counted_by_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [["--database-url", f"sqlite:///{tmp_path / name}.db"] for name in ("one", "other")]
    files = str(tmp_path / "files")

    assert main(["db", "upgrade", *urls[0]]) == 0
    assert main(["keys", "create", "--name", "ci", *urls[0]]) == 0
    capsys.readouterr()
    for command, url in (("export", urls[0]), ("import", urls[1])):
        assert main(["db", command, files, "--json", *url]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert (rows["api_keys"], rows["jobs"]) == (1, 0)


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

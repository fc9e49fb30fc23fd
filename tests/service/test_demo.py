"""The demonstration's own errors are one line that says what to do, like those of every other command."""

from pathlib import Path

import pytest

from service.demo import RECIPES, STAGES, main


def test_a_file_that_is_no_database_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "assay.db").write_text("no database, only text" * 100)
    status = main(["--directory", str(tmp_path), "--no-serve"])
    said = capsys.readouterr().err.splitlines()
    assert status != 0
    assert len(said) == 1
    assert said[0].startswith("demo: the database cannot be used")


def test_every_step_has_its_recipe_and_every_recipe_its_step() -> None:
    steps = [name for stage in STAGES for name in stage]
    assert len(steps) == 5
    assert sorted(steps) == sorted(path.stem for path in RECIPES.glob("*.yaml"))

"""What a killed writer left is told from what a living one writes, and only the former is swept."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.staging import staged, staged_as, sweep


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_staged_directory_is_gone_afterwards_unless_it_was_moved_away(tmp_path: Path) -> None:
    root = tmp_path / "staging"
    with staged(root) as first:
        (first / "file").touch()
    with staged(root) as second:
        (second / "file").touch()
        second.rename(tmp_path / "kept")
    assert names(root) == []
    assert (tmp_path / "kept" / "file").is_file()


def test_what_a_living_writer_has_is_not_swept_and_what_a_dead_one_left_is(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from trainer.staging import staged\n"
        "with staged(Path(sys.argv[1])) as d:\n (d / 'file').touch(); print(d, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        left = Path(writer.stdout.readline().strip())
        assert sweep(tmp_path, older_than_seconds=0) == 0
        assert (left / "file").is_file()
        writer.kill()
    assert sweep(tmp_path, older_than_seconds=60) == 0  # touched a moment ago: perhaps a writer that takes no locks
    assert sweep(tmp_path, older_than_seconds=0) == 1
    assert names(tmp_path) == []


def test_leftovers_of_versions_without_locks_go_once_they_are_old(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("young", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        for path in (tmp_path / name / "file", tmp_path / name):
            os.utime(path, (time.time() - age,) * 2)
    assert sweep(tmp_path, older_than_seconds=3600) == 1
    assert names(tmp_path) == ["young"]
    assert sweep(tmp_path / "absent", older_than_seconds=0) == 0


def test_a_named_directory_has_one_writer_and_stays_after_a_failure(tmp_path: Path) -> None:
    def fail() -> None:
        with staged_as(tmp_path, "a") as directory:
            (directory / "part").touch()
            raise RuntimeError("broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        fail()
    with staged_as(tmp_path, "a") as directory:
        assert (directory / "part").is_file()
    assert names(tmp_path) == ["a"]

"""Two processes that share a batch play the game that one plays alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAY = Path(__file__).with_name("play_in_process.py")


def test_two_processes_play_as_one(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    files = [tmp_path / "first", tmp_path / "second"]
    processes = [
        subprocess.Popen([sys.executable, PLAY, str(rank), tmp_path / "meeting", file], env=environment)
        for rank, file in enumerate(files)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    first, second = (json.loads(file.read_text()) for file in files)
    assert first == second
    for case in ("paired", "unpaired"):
        assert first["together"][case] == pytest.approx(first["alone"][case], abs=1e-5)

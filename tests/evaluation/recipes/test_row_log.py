"""A log that grows survives being cut anywhere in its last line."""

from pathlib import Path

import pytest

from evaluation.recipes.row_log import RowLog
from trainer.errors import StorageFailure


@pytest.mark.parametrize("torn", [b"", b"{", b'{"n": 3', b'{"n": 3}', '{"n": "é'.encode()[:-1]])
def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    RowLog(path).append([{"n": 1}, {"n": 2}])
    with path.open("ab") as file:
        file.write(torn)

    log = RowLog(path)
    log.append([{"n": 4}])

    assert log.rows() == [{"n": 1}, {"n": 2}, {"n": 4}]


def test_a_new_log_is_empty(tmp_path: Path) -> None:
    assert RowLog(tmp_path / "rows.jsonl").rows() == []


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "rows.jsonl")

    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append([{"score": float("nan")}])
    assert log.rows() == []


def test_a_directory_that_is_not_there_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailure, match="cannot write"):
        RowLog(tmp_path / "absent" / "rows.jsonl")

"""Rows that are wrong name their line; files that are written are whole."""

import gzip
from pathlib import Path

import pytest

from trainer.errors import InvalidInput, StorageFailure
from trainer.files import read_jsonl, write_atomically


def rows(path: Path, content: bytes) -> list[tuple[int, dict[str, object]]]:
    path.write_bytes(content)
    return list(read_jsonl(path))


def test_blank_lines_keep_line_numbers(tmp_path: Path) -> None:
    assert rows(tmp_path / "x.jsonl", b'{"a": 1}\n\n{"a": 2}\n') == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": "\xff"}', "line 2: not UTF-8"),
        (b'{"a": ', "line 2: not JSON .* at column 7"),
        (b"[1]", "line 2: expected an object, found list"),
        (b"[" * 100_000, "line 2: "),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        rows(tmp_path / "x.jsonl", b'{"a": 1}\n' + line + b"\n")


def test_a_torn_gzip_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a complete gzip file"):
        rows(tmp_path / "x.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000)[:40])
    with pytest.raises(InvalidInput, match="not a complete gzip file"):
        rows(tmp_path / "y.jsonl.gz", b'{"a": 1}\n')


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))


def test_an_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "x", "old")
    write_atomically(tmp_path / "deep" / "x", "new")
    assert (tmp_path / "deep" / "x").read_text() == "new"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["x"]


def test_a_refusing_disk_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(StorageFailure, match="cannot write"):
        write_atomically(tmp_path / "x", "new")
    assert (tmp_path / "x").is_dir()

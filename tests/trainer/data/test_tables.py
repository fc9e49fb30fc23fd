"""The same rows are the same training data, whichever way they are stored; bad ones stop a run or are counted."""

import gzip
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import datasets
import pytest

from trainer.data.rows import Pair, Preference
from trainer.data.sources import FileData, Skipped
from trainer.errors import InvalidInput, NotFound

ROWS: list[dict[str, Any]] = [
    {
        "chosen": [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"good {i}"}],
        "rejected": [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"bad {i}"}],
        "score_chosen": 5.0 + i,
        "score_rejected": 4.0,
    }
    for i in range(4)
]
EXPECTED = [
    Preference(
        Pair([{"role": "user", "content": f"question {i}"}], f"good {i}"),
        Pair([{"role": "user", "content": f"question {i}"}], f"bad {i}"),
        margin=1.0 + i,
    )
    for i in range(4)
]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(params=["rows.jsonl", "rows.jsonl.gz", "rows.json", "list.json", "rows.parquet", "saved", "splits"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> FileData:
    # a name that a pattern would not find
    path = tmp_path / "some [rows]" / request.param
    path.parent.mkdir()
    table = datasets.Dataset.from_list(ROWS)
    match request.param:
        case "rows.jsonl" | "rows.json":
            path.write_text(lines(ROWS))
        case "rows.jsonl.gz":
            path.write_bytes(gzip.compress(lines(ROWS).encode()))
        case "list.json":
            path.write_text(json.dumps(ROWS))
        case "rows.parquet":
            table.to_parquet(str(path))
        case "saved":
            table.save_to_disk(str(path))
        case "splits":
            datasets.DatasetDict({"train_prefs": table, "test_prefs": table.select([3])}).save_to_disk(str(path))
            return FileData(path=str(path), split="train_prefs", validation="test_prefs")
    return FileData(path=str(path))


def test_rows_are_the_same_however_they_are_stored(stored: FileData) -> None:
    assert stored.preferences() == EXPECTED
    assert stored.model_copy(update={"limit": 3}).preferences() == EXPECTED[:3]


def test_a_wrong_row_names_its_place_however_it_is_stored(stored: FileData) -> None:
    numbered = "line 1" if ".jsonl" in stored.path else "row 1"
    with pytest.raises(InvalidInput, match=rf"{numbered}, field 'prompt': missing"):
        stored.pairs()


def test_held_out_rows_are_another_split_or_another_file(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(ROWS)
    saved = tmp_path / "saved"
    datasets.DatasetDict({"train": table.select([0, 1]), "test": table.select([2])}).save_to_disk(str(saved))
    (tmp_path / "held_out.jsonl").write_text(lines(ROWS[3:]))
    assert FileData(path=str(saved), validation="test").preferences(held_out=True) == EXPECTED[2:3]
    other = FileData(path=str(saved), validation=str(tmp_path / "held_out.jsonl"))
    assert other.preferences() == EXPECTED[:2]
    assert other.preferences(held_out=True) == EXPECTED[3:]


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(ROWS)
    table.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict({"a": table, "b": table}).save_to_disk(str(tmp_path / "splits"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.jsonl").write_text(lines(ROWS))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "torn.json").write_text('[{"prompt": ')
    for data, message in [
        ({"path": str(tmp_path / "splits")}, r"splits has no split 'train', only a, b$"),
        ({"path": str(tmp_path / "saved"), "split": "test"}, "holds one split only"),
        ({"path": str(tmp_path / "empty")}, "no directory written by save_to_disk: "),
        ({"path": str(tmp_path / "rows.jsonl"), "split": "test"}, "is a file and has no split 'test'"),
        ({"path": str(tmp_path / "torn.parquet")}, r"torn\.parquet cannot be read: "),
        ({"path": str(tmp_path / "torn.json")}, r"torn\.json cannot be read: "),
        ({"path": str(tmp_path / "nowhere")}, "no such file: "),
        ({"path": "some/rows.jsonl"}, r"no such file: some/rows\.jsonl"),
    ]:
        with pytest.raises(InvalidInput, match=message) as caught:
            FileData(**data).preferences()
        assert "\n" not in caught.value.detail


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_named_as_on_the_hub_is_the_same_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    """``datasets`` looks for ``owner/name`` here before it asks the hub: the rest of the way is the same."""
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(lines(ROWS[:3]))
    (folder / "test.jsonl").write_text(lines(ROWS[3:]))
    monkeypatch.chdir(tmp_path)
    data = FileData(path="owner/name", validation="test", streaming=streaming)
    assert data.preferences() == EXPECTED[:3]
    assert data.preferences(held_out=True) == EXPECTED[3:]
    assert data.model_copy(update={"limit": 2}).preferences() == EXPECTED[:2]
    with pytest.raises(InvalidInput, match="owner/name train, row 1, field 'prompt': missing"):
        data.pairs()


def test_a_stream_is_read_no_further_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def endless() -> Iterator[dict[str, Any]]:
        for number in count():
            read.append(number)
            yield ROWS[number % len(ROWS)]

    def load(*_: Any, streaming: bool, **__: Any) -> datasets.IterableDataset:
        assert streaming
        return datasets.IterableDataset.from_generator(endless)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(FileData(path="owner/name", streaming=True, limit=5).preferences()) == 5
    assert read == list(range(5))


def test_a_hub_out_of_reach_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for streaming in (False, True):
        with pytest.raises(
            NotFound, match=r"cannot get data set nobody/nothing, split train, .* check its name"
        ) as caught:
            FileData(path="nobody/nothing", streaming=streaming).preferences()
        assert "\n" not in caught.value.detail


BAD = 'not json\n{"prompt": "p", "chosen": "a"}\n'
GOOD = '{"prompt": "p", "chosen": "a", "rejected": "b"}\n'


def test_bad_rows_are_skipped_and_counted_where_that_was_asked_for(tmp_path: Path) -> None:
    said: list[Skipped] = []
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD + BAD + GOOD)
    with pytest.raises(InvalidInput, match="line 2: not JSON"):
        FileData(path=str(path)).preferences()
    kept = FileData(path=str(path), on_bad_row="skip").preferences(report=said.append)
    assert kept == [Preference(Pair("p", "a"), Pair("p", "b"))] * 2
    assert [(skipped.count, skipped.of) for skipped in said] == [(2, 4)]
    assert str(said[0]).startswith(f"skipped 2 of 4 rows of {path}; the first: {path}, line 2: not JSON")


def test_a_file_of_bad_rows_alone_is_an_error_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(BAD)
    with pytest.raises(InvalidInput, match=r"none of the 2 rows of .* can be used; the first: .*line 1: not JSON"):
        FileData(path=str(path), on_bad_row="skip").preferences()


def test_a_torn_file_is_no_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress((GOOD * 1000).encode())[:-9])
    with pytest.raises(InvalidInput, match="not a complete gzip file"):
        FileData(path=str(path), on_bad_row="skip").preferences()


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress((GOOD * 100_000).encode())[:-9])  # torn far behind the rows that are read
    assert len(FileData(path=str(path), limit=2).preferences()) == 2

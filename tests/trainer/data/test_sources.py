"""Training rows: from a file, where a wrong one names its line and field, or from the world."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.data.rows import Pair, digest_rows
from trainer.data.sources import FileData, ProductWorldData
from trainer.errors import InvalidInput


def file(path: Path, *rows: dict[str, Any]) -> FileData:
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileData(path=str(path / "rows.jsonl"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "line 2, field 'response': missing; the row has prompt;"),
        ({}, "line 2, field 'prompt': missing; the row has no fields;"),
        ({"prompt": "p", "response": ""}, "line 2, field 'response': the response is empty; mend the row, or"),
        ({"prompt": " ", "response": "r"}, "line 2, field 'prompt': the prompt is empty"),
        ({"prompt": [{"role": "user"}], "response": "r"}, "line 2, field 'prompt': expected a string or a list"),
        ({"prompt": [], "response": "r"}, "line 2, field 'prompt': the prompt has no messages"),
        ({"prompt": 3, "response": "r"}, "line 2, field 'prompt': expected a string or a list"),
        ({"response": "r"}, "line 2, field 'prompt': missing"),
    ],
)
def test_a_wrong_row_names_its_line_and_field(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        file(tmp_path, {"prompt": "p", "response": "r"}, row).pairs()


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no rows"):
        file(tmp_path).pairs()


def test_held_out_rows_come_from_the_validation_file_alone(tmp_path: Path) -> None:
    data = file(tmp_path, {"prompt": "p", "response": "r"})
    assert data.pairs(held_out=True) == []
    assert data.model_copy(update={"validation": data.path}).pairs(held_out=True) == data.pairs()


def test_the_world_contrasts_responses_or_prompts() -> None:
    for row in ProductWorldData(kind="product_world", size=20, contrast="response").preferences():
        assert row.sides[0].prompt == row.sides[1].prompt
        assert row.sides[0].response != row.sides[1].response
    for row in ProductWorldData(kind="product_world", size=20, contrast="prompt").preferences():
        assert row.sides[0].prompt != row.sides[1].prompt
        assert row.sides[0].response == row.sides[1].response


def test_the_digest_follows_content_and_order() -> None:
    a, b = Pair("p", "1"), Pair("p", "2")
    assert digest_rows([a, b]) == digest_rows([Pair("p", "1"), Pair("p", "2")])
    assert len({digest_rows([a, b]), digest_rows([b, a]), digest_rows([a])}) == 3

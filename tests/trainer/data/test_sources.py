"""Training rows: from a file, where a wrong one names its line and field, or from the world."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.artifacts import ArtifactStore
from trainer.data.sources import FileData, Pair, ProductWorldData, digest_rows
from trainer.data.text import fit
from trainer.errors import InvalidInput
from trainer.recipe import Run
from trainer.recipes.encoding import encode_pairs
from trainer.reporting import Reporter, read_events


def file(path: Path, *rows: dict[str, Any]) -> FileData:
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileData(path=str(path / "rows.jsonl"))


def test_preferences_and_preferential_prompts_are_told_apart(tmp_path: Path) -> None:
    usual, preferential = file(
        tmp_path,
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "perturbed_prompt": "q", "response": "a"},
    ).preferences()
    assert (usual.chosen, usual.rejected) == (Pair("p", "a"), Pair("p", "b"))
    assert (preferential.chosen, preferential.rejected) == (Pair("p", "a"), Pair("q", "a"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "line 2, field 'response': missing"),
        ({"prompt": "p", "response": ""}, "line 2, field 'response': the response is empty"),
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
        assert row.chosen.prompt == row.rejected.prompt
        assert row.chosen.response != row.rejected.response
    for row in ProductWorldData(kind="product_world", size=20, contrast="prompt").preferences():
        assert row.chosen.prompt != row.rejected.prompt
        assert row.chosen.response == row.rejected.response


def test_the_digest_follows_content_and_order() -> None:
    a, b = Pair("p", "1"), Pair("p", "2")
    assert digest_rows([a, b]) == digest_rows([Pair("p", "1"), Pair("p", "2")])
    assert len({digest_rows([a, b]), digest_rows([b, a]), digest_rows([a])}) == 3


class Characters:
    """A model of eight tokens, one for each character."""

    def encode(self, prompt: Any, response: str, on_overlong: Any = "error") -> Any:
        return fit([ord(c) for c in prompt], [ord(c) for c in response], 8, on_overlong)


def test_rows_that_no_truncation_makes_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    pairs = [Pair("ppp", "rrr"), Pair("pppppp", "rrrr"), Pair("p", "r" * 9), Pair("p", "r" * 7)]
    data = ProductWorldData(kind="product_world", max_response_tokens=5)
    with Reporter(tmp_path, quiet=True) as reporter:
        run = Run("job", tmp_path, ArtifactStore(tmp_path), reporter)
        kept = encode_pairs(Characters(), pairs, data, run)
        with pytest.raises(InvalidInput, match="every one of 1 rows is longer"):
            encode_pairs(Characters(), pairs[2:3], data, run)
    assert [(row.tokens, row.truncated_tokens) for row in kept] == [(6, 0), (8, 2)]
    said = [event["text"] for event in read_events(tmp_path)]
    assert said[0].startswith("left out 2 of 4 rows")
    assert said[1].startswith("1 of 2 texts exceeded")

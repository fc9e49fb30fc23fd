"""Whatever stands in a recipe, the answer is a recipe that can be stored or one line that says what to change."""

from pathlib import Path
from typing import Any

import pytest

from trainer.errors import InvalidInput
from trainer.recipe import read_recipe
from trainer.recipes import parse_recipe

SFT = {"kind": "sft", "name": "x", "data": {"kind": "product_world", "size": 5}, "policy": {"path": "a"}}


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"labels": {"who": "\ud800"}}, "/labels/who", "character 0 of '\\ud800' is half a surrogate pair"),
        ({"labels": {"who": "me\x00"}}, "/labels/who", "character 2 of 'me\\x00'"),
        ({"labels": {"a\x00": "b"}}, "/labels", "character 1 of 'a\\x00'"),
        ({"data": {"kind": "file", "path": "/tmp/\udc80"}}, "/data/path", "half a surrogate pair"),
        ({"max_steps": 2**63}, "/max_steps", "beyond 64 bits"),
        ({"policy": {"scratch": {"hidden_size": 31, "heads": 2}}}, "/policy/scratch", "evenly among 2 heads"),
        ({"data": {"kind": "web"}}, "/data", "'web' is not one of 'file', 'product_world'"),
    ],
)
def test_what_could_not_be_stored_or_is_no_choice_is_pointed_at(
    fields: dict[str, Any], pointer: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_recipe({**SFT, **fields})

    assert caught.value.pointer == pointer
    assert words in caught.value.detail
    caught.value.detail.encode()  # can itself be sent and printed


def test_the_largest_step_count_that_databases_hold_is_fine() -> None:
    assert parse_recipe({**SFT, "max_steps": 2**63 - 1}).model_dump()["max_steps"] == 2**63 - 1


def test_a_file_nested_too_deeply_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 5000)

    with pytest.raises(InvalidInput, match=r"deep\.yaml: not a readable YAML"):
        read_recipe(path)

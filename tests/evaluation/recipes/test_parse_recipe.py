"""Every kind of recipe is read in one place, and a wrong field is named in one line."""

from typing import Any

import pytest

from evaluation.recipes import parse_recipe
from evaluation.recipes.audit import AuditRecipe
from evaluation.recipes.stress_test import StressTestRecipe
from trainer.errors import InvalidInput
from trainer.recipes.sft import SFT

STRESS: dict[str, Any] = {
    "kind": "stress_test",
    "name": "s",
    "policy": {"path": "p"},
    "prompts": {"kind": "product_world"},
    "oracles": [{"kind": "product_world"}],
}


def test_all_kinds_are_known() -> None:
    assert isinstance(parse_recipe(STRESS), StressTestRecipe)
    assert isinstance(
        parse_recipe({"kind": "audit", "path": "x", "scorers": ["length"], "oracles": ["r"]}), AuditRecipe
    )
    sft = {"kind": "sft", "name": "x", "policy": {"path": "p"}, "data": {"path": "f"}}
    assert isinstance(parse_recipe(sft), SFT)


def test_a_stress_test_has_the_documented_defaults() -> None:
    recipe = parse_recipe(STRESS)

    assert isinstance(recipe, StressTestRecipe)
    assert recipe.temperatures == (0, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0)
    assert (recipe.responses_per_prompt, recipe.max_response_tokens) == (16, 128)
    assert (recipe.bootstrap.draws, recipe.bootstrap.confidence) == (2000, 0.95)


def test_a_recipe_survives_being_stored(tmp_path: Any) -> None:
    recipe = parse_recipe({**STRESS, "prompts": {"path": "f.jsonl", "limit": 3}, "scorers": ["rm@1:score"]})

    assert parse_recipe(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"temperatures": [0, 2.5]}, "/temperatures/1", "less than or equal to 2"),
        ({"temperatures": [-0.1]}, "/temperatures/0", "greater than or equal to 0"),
        ({"temperatures": [float("nan")]}, "/temperatures/0", "finite"),
        ({"temperatures": []}, "/temperatures", "at least 1"),
        ({"temperatures": [1, 1.0]}, "/temperatures", "named once"),
        ({"responses_per_prompt": 0}, "/responses_per_prompt", "greater than or equal to 1"),
        ({"max_response_tokens": 0}, "/max_response_tokens", "greater than or equal to 1"),
        ({"top_q": 0.9}, "/top_q", "unknown field"),
        ({"oracles": []}, "/oracles", "at least 1"),
        ({"oracles": [{"kind": "oracle_of_delphi"}]}, "/oracles/0", "product_world"),
        ({"oracles": [{"kind": "product_world", "measure": "x"}]}, "/oracles/0/measure", "gold"),
        ({"prompts": {"path": "f", "split": "test"}}, "/prompts/split", "unknown field"),
        ({"prompts": {"kind": "product_world", "limit": 0}}, "/prompts/limit", "greater than or equal to 1"),
        ({"prompts": {"kind": "web"}}, "/prompts", "product_world"),
        ({"policy": {"scratch": {}}}, "/policy/scratch", "by its path"),
        ({"name": "../up"}, "/name", "a name is letters"),
        ({"bootstrap": {"draws": 1}}, "/bootstrap/draws", "greater than or equal to 100"),
        ({"kind": "stress"}, "", "stress_test"),
    ],
)
def test_a_wrong_field_is_pointed_at_in_one_line(change: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        parse_recipe({**STRESS, **change})

    assert caught.value.pointer == pointer
    assert "\n" not in caught.value.detail

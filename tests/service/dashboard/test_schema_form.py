"""A form says what its recipe says: drawn and read back, every recipe stays the work that it was."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.recipes import parse_recipe
from service.dashboard.form_reading import fields_of, in_order_of, read_form
from service.dashboard.new_recipe import schema_of
from service.dashboard.schema_form import Entries, Group, Input, form_of, pointers
from service.jobs.kinds import STRESS_KINDS, TRAINING_KINDS
from trainer.recipe import read_recipe

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*/*.yaml"))


def there_and_back(content: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of(content["kind"])
    return {"kind": content["kind"], **read_form(schema, fields_of(form_of(schema, content)))}


def member(content: dict[str, Any], pointer: str) -> Any:
    """The input, group or list at ``pointer`` of the form for ``content``."""
    waiting: list[Any] = form_of(schema_of(content["kind"]), content)
    for each in waiting:
        if each.pointer == pointer:
            return each
        waiting.extend(each.members if isinstance(each, Group) else each.groups if isinstance(each, Entries) else [])
    raise AssertionError(f"no {pointer}")


def test_there_are_ready_recipes() -> None:
    assert len(RECIPES) >= 20


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_ready_recipe_is_the_same_work_after_its_form(path: Path) -> None:
    content = read_recipe(path)
    recipe = parse_recipe(content)

    assert parse_recipe(there_and_back(content)).digest() == recipe.digest()
    # also as it is stored, with every default spelled out
    assert parse_recipe(there_and_back(recipe.model_dump(mode="json"))).digest() == recipe.digest()


def test_a_recipe_is_told_without_what_equals_a_default() -> None:
    content = {"kind": "preference", "name": "a", "policy": {"path": "p"}, "data": {"path": "rows.jsonl"}}
    stored = parse_recipe(content).model_dump(mode="json")

    assert len(str(stored)) > 5 * len(str(content))
    told = there_and_back(stored)
    assert set(told) == {"kind", "name", "policy", "data"}
    assert told["policy"] == {"path": "p"}


def test_every_kind_has_a_form_whose_fields_are_all_named_once() -> None:
    for kind in (*TRAINING_KINDS, *STRESS_KINDS):
        names = list(pointers(form_of(schema_of(kind), {"kind": kind})))
        assert len(names) > 20
        assert len(set(names)) == len(names)
        assert "/name" in names
        assert names[0] == "/name", "what must be said stands first"


def test_what_is_drawn_again_keeps_the_order_of_its_writer_at_every_depth() -> None:
    earlier = {"name": "a", "kind": "sft", "data": {"size": 1, "kind": "x"}, "gone": 0, "list": [{"b": 1, "a": 2}]}
    now = {
        "kind": "sft",
        "seed": 1,
        "name": "b",
        "data": {"kind": "x", "size": 2},
        "list": [{"a": 3, "b": 4}, {"c": 5}],
    }
    drawn = in_order_of(earlier, now)
    assert drawn == now
    # a new key stays behind the one that it follows
    assert list(drawn) == ["name", "kind", "seed", "data", "list"]
    assert list(drawn["data"]) == ["size", "kind"]
    assert list(drawn["list"][0]) == ["b", "a"]
    assert list(in_order_of({"b": 1}, {"a": 0, "b": 1})) == ["a", "b"]
    for nothing in (None, "kind: [", []):
        assert list(in_order_of(nothing, now)) == list(now)


def test_a_recipe_says_what_it_is_about_before_the_rest() -> None:
    recipe = {"kind": "sft", "seed": 3, "max_steps": 2, "data": {"kind": "product_world"}, "policy": {"path": "p"}}
    assert list(there_and_back(recipe)) == ["kind", "policy", "data", "max_steps", "seed"]


def test_a_browser_sends_no_choice_that_is_not_there() -> None:
    said = there_and_back({"kind": "reward_model", "gradient_checkpointing": "maybe", "loss": "no such"})
    assert "gradient_checkpointing" not in said
    assert said.get("loss") != "no such"


@pytest.mark.parametrize("typed", ["a: [", "abc", "'5'", "'a: 1'", "a: 1", "[1, 2]"])
def test_yaml_in_a_field_is_shown_as_what_was_typed_says(typed: str) -> None:
    labels = read_form(schema_of("sft"), {"/labels": typed})
    shown = member({"kind": "sft", **labels}, "/labels").value
    assert read_form(schema_of("sft"), {"/labels": shown}) == labels
    assert shown == ("- 1\n- 2" if typed == "[1, 2]" else typed)


def test_inputs_show_defaults_choices_and_what_they_are_for() -> None:
    content = {"kind": "stress_test"}
    assert member(content, "/responses_per_prompt") == Input(
        "/responses_per_prompt",
        "responses per prompt",
        "At each temperature; at 0 there is one, as all would be equal.",
        "text",
        value="",
        default="16",
        required=False,
        numeric=True,
    )
    assert member(content, "/temperatures").default == "0, 0.3, 0.5, 0.7, 1, 1.25, 1.5, 1.75, 2"
    assert member(content, "/scorers").kind == "lines"
    assert member({"kind": "ganpo"}, "/adversarial/quad").kind == "switch"
    assert member({"kind": "ganpo"}, "/optimizer/schedule").choices[:2] == ("cosine", "linear")
    assert member({"kind": "ganpo"}, "/labels").kind == "yaml"


def test_a_union_shows_the_fields_of_what_was_chosen() -> None:
    objective = member({"kind": "ganpo"}, "/objective")
    assert objective.variants == ("dpo", "simpo", "ipo", "kto", "orpo")
    assert objective.variant == "dpo"
    chosen = member({"kind": "ganpo", "objective": {"kind": "simpo"}}, "/objective")
    assert {each.label for each in chosen.members} != {each.label for each in objective.members}

    schema = schema_of("ganpo")
    assert read_form(schema, {"variant:/objective": "dpo"}).get("objective") is None
    assert read_form(schema, {"variant:/objective": "simpo"})["objective"] == {"kind": "simpo"}
    assert read_form(schema, {"variant:/objective": "dpo", "/objective/beta": "0.2"})["objective"] == {
        "kind": "dpo",
        "beta": 0.2,
    }


def test_what_has_no_kind_is_told_by_its_fields() -> None:
    served = {"kind": "stress_test", "policy": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}
    assert member(served, "/policy").variant == "ServedPolicy"
    assert member({"kind": "stress_test", "policy": {"path": "p"}}, "/policy").variant == "SampledPolicy"
    begun = read_form(schema_of("stress_test"), {"variant:/policy": "ServedPolicy"})["policy"]
    assert begun == {"base_url": "", "model": ""}
    assert member({"kind": "stress_test", "policy": begun}, "/policy").variant == "ServedPolicy"


def test_null_is_said_where_it_differs_from_the_default_and_only_there() -> None:
    schema = schema_of("ppo")
    clip = "/ppo/value/clip"
    assert member({"kind": "ppo"}, clip).default == "0.2"
    assert read_form(schema, {clip: "none"})["ppo"]["value"] == {"clip": None}
    assert "ppo" not in read_form(schema, {clip: "0.2"})
    assert member({"kind": "ppo", "ppo": {"value": {"clip": None}}}, clip).value == "none"


def test_an_object_that_may_be_null_is_there_once_it_is_set() -> None:
    schema = schema_of("sft")
    assert member({"kind": "sft"}, "/policy/lora").variant == "none"
    assert member({"kind": "sft"}, "/policy/lora").members == []
    assert read_form(schema, {"variant:/policy/lora": "set"})["policy"] == {"lora": {}}
    assert member({"kind": "sft", "policy": {"lora": {}}}, "/policy/lora").variant == "set"
    assert read_form(schema, {"variant:/policy/lora": "none"})["policy"] == {}


def test_a_default_of_the_whole_stays_when_one_part_of_it_changes() -> None:
    # the warm-up's optimiser has a rate of its own, 1e-5, which is not the optimiser's usual one
    content = {"kind": "gapo", "reward_model": {"warm_up": {}}}
    rate = "/reward_model/warm_up/optimizer/learning_rate"
    assert member(content, rate).default == "1e-05"
    usual = member({"kind": "sft"}, "/optimizer/learning_rate").default
    assert usual != "1e-05"

    fields = {"variant:/reward_model/warm_up": "set", "/reward_model/warm_up/optimizer/weight_decay": "0.5"}
    optimizer = read_form(schema_of("gapo"), fields)["reward_model"]["warm_up"]["optimizer"]
    assert optimizer == {"learning_rate": 1e-5, "weight_decay": 0.5}
    # while a recipe that says a part of it gets the usual rest, which the form spells out
    partly = {"kind": "gapo", "reward_model": {"warm_up": {"optimizer": {"weight_decay": 0.5}}}}
    assert member(partly, rate).value == usual


def test_entries_of_a_list_come_in_their_order_and_without_those_taken_out() -> None:
    schema = schema_of("stress_test")
    fields = {
        "entry:/oracles/0": "", "variant:/oracles/0": "product_world",
        "entry:/oracles/2": "", "variant:/oracles/2": "llm_judge", "/oracles/2/model": "m",
    }  # fmt: skip
    assert read_form(schema, fields)["oracles"] == [{"kind": "product_world"}, {"kind": "llm_judge", "model": "m"}]


def test_what_is_no_number_is_kept_for_validation_to_complain_about() -> None:
    schema = schema_of("stress_test")
    said = read_form(schema, {"/seed": "many", "/temperatures": "0, warm, 1e-1", "/scorers": "a\r\n\r\n b:c "})
    assert said["seed"] == "many"
    assert said["temperatures"] == [0, "warm", 0.1]
    assert said["scorers"] == ["a", "b:c"]


def test_a_number_of_many_digits_is_written_whole() -> None:
    content = {"kind": "stress_test", "temperatures": [0.7000000000000001, 1.0, 1e-5]}
    assert member(content, "/temperatures").value == "0.7000000000000001, 1, 1e-05"
    assert there_and_back(content)["temperatures"] == content["temperatures"]

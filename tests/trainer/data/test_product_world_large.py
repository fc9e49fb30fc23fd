"""The large world contains the small one, which stays as it is to the byte."""

import hashlib

import pytest

from trainer.data.product_world import WORLDS, make_tokenizer, sample_examples, satisfied
from trainer.data.product_world.reading import read_prompt
from trainer.data.product_world.vocabulary import FUNCTION_WORDS, PROMPT_WORDS, TONE_OF, TONES
from trainer.data.rows import Preference
from trainer.data.sources import ProductWorldData
from trainer.errors import InvalidInput
from trainer.recipes import parse_recipe

LARGE = WORLDS["large"]


@pytest.fixture(scope="module")
def rows() -> list[Preference]:
    data = ProductWorldData(kind="product_world", world="large", levels=tuple(LARGE.levels), size=400, contrast="both")
    return data.preferences()


def test_the_small_world_is_what_it_was_before_there_was_another() -> None:
    digest = hashlib.sha256()
    for contrast in ("prompt", "response"):
        content = {"kind": "product_world", "size": 200, "validation_size": 50, "contrast": contrast, "seed": 3}
        data = ProductWorldData.model_validate(content)
        for held_out in (False, True):
            for row in data.preferences(held_out=held_out):
                digest.update(repr(row).encode())
    digest.update(make_tokenizer().backend_tokenizer.to_str().encode())
    assert digest.hexdigest() == "f28587cd005e2e3003d0c6830bdca443d56065a788645eff2716c179d3c2066f"


def test_every_word_has_one_meaning() -> None:
    values = [value for own in LARGE.properties.values() for value in own]
    others = [*LARGE.nouns, *LARGE.properties, *FUNCTION_WORDS, *PROMPT_WORDS, *TONES, *TONE_OF]
    assert (len(LARGE.nouns), len(LARGE.properties), len(values)) == (24, 16, 256)
    assert len({*values, *LARGE.nouns, *LARGE.properties}) == 256 + 24 + 16
    assert not {*values} & {*others}
    assert {*WORLDS["small"].words()} < {*LARGE.words()}


def test_rows_are_right_and_wrong_as_they_should_be_and_fit(rows: list[Preference]) -> None:
    tokenizer = make_tokenizer("large")
    for row in rows:
        assert row.chosen is not None
        assert row.rejected is not None
        assert satisfied(read_prompt(str(row.chosen.prompt)), row.chosen.response)
        assert not satisfied(read_prompt(str(row.rejected.prompt)), row.rejected.response)
        for side in row.sides:
            ids = tokenizer(side.prompt, side.response)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert len(ids) <= LARGE.max_tokens
    assert len({row.kind for row in rows}) == 16


def test_the_highest_level_states_twelve_facts_of_all_kinds() -> None:
    examples = sample_examples("test", 200, seed=0, levels=(8,), world=LARGE)
    assert {len(example.task.facts) for example in examples} == {12}
    seen = {value for example in examples for _, value in example.task.facts}
    assert len(seen) > 250
    assert {example.task.noun for example in examples} == {*LARGE.nouns}


def test_a_level_of_the_large_world_is_not_one_of_the_small() -> None:
    content = {"kind": "sft", "name": "mine", "policy": {"scratch": {}}}
    with pytest.raises(InvalidInput, match="the small world has no level 6; it has 1 to 5"):
        parse_recipe({**content, "data": {"kind": "product_world", "levels": [5, 6]}})
    with pytest.raises(InvalidInput, match="the large world has no level 9; it has 1 to 8"):
        parse_recipe({**content, "data": {"kind": "product_world", "world": "large", "levels": [9]}})

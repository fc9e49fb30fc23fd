"""The world's checker is exact, its splits are disjoint and its perturbations really break compliance."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from trainer.data.product_world import (
    Example,
    Task,
    check,
    describe,
    gold,
    perturb_prompt,
    perturb_response,
    render_prompt,
    sample_examples,
    satisfied,
)
from trainer.data.product_world.perturbations import PROMPT_EDITS, RESPONSE_EDITS
from trainer.data.product_world.sampling import split_of
from trainer.data.product_world.tokenizer import make_tokenizer

MUG = Task(
    noun="mug",
    facts=(("color", "red"), ("size", "tiny")),
    length=(6, 8),
    start="color",
    before=("color", "size"),
    avoid=("here",),
)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return sample_examples("train", 300, seed=7)


def test_a_compliant_response_meets_every_constraint() -> None:
    assert check(MUG, "the color is red . size is tiny .") == {
        "wellformed": True,
        "complete": True,
        "faithful": True,
        "tone": True,
        "len": True,
        "start": True,
        "before": True,
        "avoid": True,
    }
    assert gold(MUG, "the color is red . size is tiny .") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("response", "violated"),
    [
        ("the color is red . size is tiny", {"wellformed", "complete"}),
        ("the color is red . the size is red .", {"wellformed", "complete", "faithful"}),
        ("the color is blue . size is tiny .", {"complete", "faithful"}),
        ("the color is red . color is red .", {"complete", "faithful"}),
        ("size is tiny . the color is red .", {"start", "before"}),
        ("color is red . simply feels quiet . size is tiny .", {"tone", "len"}),
        ("here the color is always red . size is tiny .", {"len", "avoid"}),
        ("this lamp has a color of red . size is tiny .", {"faithful", "len"}),
        ("", {"wellformed", "complete", "len", "start", "before"}),
    ],
)
def test_each_violation_is_named(response: str, violated: set[str]) -> None:
    assert {name for name, holds in check(MUG, response).items() if not holds} == violated


def test_gold_weighs_constraints_and_fluency_by_hand() -> None:
    # of 8 constraints wellformed, complete and faithful (tiny thrice) fail; one of two sentences is the grammar's
    assert gold(MUG, "the color is red . size tiny tiny tiny .") == pytest.approx(0.6 * 5 / 8 + 0.4 * 1 / 2)


def test_every_sampled_response_complies(examples: list[Example]) -> None:
    assert all(satisfied(example.task, example.response) for example in examples)
    assert {example.task.level for example in examples} == {1, 2, 3, 4, 5}


def test_examples_depend_on_their_index_alone() -> None:
    assert sample_examples("train", 20, seed=3)[:8] == sample_examples("train", 8, seed=3)
    assert sample_examples("train", 5, seed=3) != sample_examples("train", 5, seed=4)


def test_splits_share_no_product() -> None:
    for split in ("train", "validation", "test"):
        for example in sample_examples(split, 60, seed=1):
            assert split_of(example.task.noun, example.task.facts) == split


def test_every_prompt_edit_breaks_compliance(examples: list[Example]) -> None:
    rng = random.Random(0)
    kinds: Counter[str] = Counter()
    for example in examples:
        kind, task = perturb_prompt(rng, example)
        kinds[kind] += 1
        assert not satisfied(task, example.response)
    assert kinds.keys() == PROMPT_EDITS.keys()


def test_every_response_edit_breaks_compliance(examples: list[Example]) -> None:
    rng = random.Random(0)
    kinds: Counter[str] = Counter()
    for example in examples:
        kind, response = perturb_response(rng, example)
        kinds[kind] += 1
        assert not satisfied(example.task, response)
    assert kinds.keys() == RESPONSE_EDITS.keys()


def test_a_task_survives_json(examples: list[Example]) -> None:
    import json

    for example in examples[:20]:
        assert Task.from_json(json.loads(json.dumps(example.task.to_json()))) == example.task


def test_prompts_render_for_models_and_for_people() -> None:
    task = replace(MUG, tone="calm")
    assert (
        render_prompt(task)
        == "product mug | color red ; size tiny | len 6 to 8 | tone calm | start color | color before size | avoid here"
    )
    assert describe(task).startswith(
        "Describe a mug using exactly these facts: color red, size tiny. Use 6 to 8 words."
    )


def test_the_vocabulary_is_closed(examples: list[Example]) -> None:
    tokenizer = make_tokenizer()
    for example in examples:
        for text in (render_prompt(example.task), example.response):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text

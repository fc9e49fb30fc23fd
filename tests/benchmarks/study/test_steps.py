"""A study is made of recipes that anyone could write, in an order in which they can be run."""

from typing import Any

import pytest

from benchmarks.ganpo_study import arms as ganpo
from benchmarks.gapo_study import arms as gapo
from evaluation.recipes import parse_recipe
from evaluation.reproduction.toy_world import ARMS


@pytest.mark.parametrize("name", ["full", "quick"])
@pytest.mark.parametrize(
    ("study", "expected"),
    [(ganpo, ARMS), (gapo, [f"{policy}-stress" for policy in gapo.POLICIES])],
    ids=["ganpo", "gapo"],
)
def test_every_step_is_a_valid_recipe_and_comes_after_what_it_needs(study: Any, expected: list[str], name: str) -> None:
    before: set[str] = set()
    for step in study.steps_of_seed(3, study.SIZES[name]):
        assert parse_recipe(step.recipe).name == step.name
        assert before.issuperset(step.needs), step.name
        before.add(step.name)
    assert {f"s3-{each}" for each in expected} <= before

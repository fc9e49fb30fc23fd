"""The study is made of recipes that anyone could write, in an order in which they can be run."""

import pytest

from benchmarks.gapo_study.arms import GRID, POLICIES, REINFORCED, SIZES, START, steps_of_seed
from evaluation.recipes import parse_recipe


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_step_is_a_valid_recipe_and_comes_after_what_it_needs(name: str) -> None:
    before: set[str] = set()
    for step in steps_of_seed(3, SIZES[name]):
        assert parse_recipe(step.recipe).name == step.name
        assert before.issuperset(step.needs), step.name
        before.add(step.name)
    assert {f"s3-{policy}-stress" for policy in POLICIES} <= before


def test_every_reinforced_arm_starts_from_one_policy_and_differs_only_in_what_it_is_named_after() -> None:
    recipes = {step.name: step.recipe for step in steps_of_seed(0, SIZES["full"])}
    ours = [recipes[f"s0-{name}"] for name in REINFORCED]
    assert {recipe["policy"]["path"] for recipe in ours} == {f"s0-{START}"}
    learned = [recipe["ppo"] | {"kl": None} for recipe in ours if "path" in recipe["reward_model"]]
    assert len(learned) == len(ours) - 1  # but for the checker, whose verdict is no logit
    assert all(each == learned[0] for each in learned)
    gapo, data_only = recipes["s0-gapo"], recipes["s0-data-only"]
    assert {key for key in data_only if data_only[key] != gapo.get(key)} == {"name", "generated_share"}


def test_the_grid_has_both_methods_on_both_augmentations_at_three_sizes_under_their_own_names() -> None:
    assert len(GRID) == 12
    assert {(arm.kind, arm.augmentation, arm.share) for arm in GRID.values()} == {
        (kind, augmentation, share)
        for kind in ("ppo", "gapo")
        for augmentation in ("preferential_prompt", "preferential_response")
        for share in (0.25, 0.5, 1.0)
    }
    rows = {step.name: step.recipe["data"]["size"] for step in steps_of_seed(0, SIZES["full"]) if "data" in step.recipe}
    assert (rows["s0-gapo"], rows["s0-gapo-pp-0.5"], rows["s0-ppo-pr-0.25"]) == (3000, 1500, 750)
    assert rows["s0-encoder-pr-0.25"] == 750

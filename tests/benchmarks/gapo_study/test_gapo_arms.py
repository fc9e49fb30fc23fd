"""What the arms differ in."""

from benchmarks.gapo_study.arms import GRID, REINFORCED, SIZES, START, steps_of_seed


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

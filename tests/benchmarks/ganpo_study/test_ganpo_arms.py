"""What the arms of a seed share, and what stands beside the trained discriminator."""

from benchmarks.ganpo_study.arms import SIZES, steps_of_seed
from evaluation.reproduction.toy_world import ARMS


def test_arms_of_a_seed_share_start_rows_and_prompts_and_another_seed_has_its_own() -> None:
    def shared(seed: int) -> list[tuple[str, str, int, str, int]]:
        steps = {step.name: step.recipe for step in steps_of_seed(seed, SIZES["full"])}
        trained = [steps[f"s{seed}-{arm}"] for arm in ARMS]
        sampled = [steps[f"s{seed}-{arm}-stress"] for arm in ARMS]
        assert len({(test["responses_per_prompt"], *test["temperatures"]) for test in sampled}) == 1
        return [
            (arm["policy"]["path"], str(arm["data"]), arm["seed"], str(test["prompts"]), test["seed"])
            for arm, test in zip(trained, sampled, strict=True)
        ]

    first, second = set(shared(0)), set(shared(1))
    assert len(first) == len(second) == 1
    assert all(ours != theirs for ours, theirs in zip(first.pop(), second.pop(), strict=True))


def test_at_least_ten_untrained_discriminators_stand_beside_the_trained_one() -> None:
    for size in SIZES.values():
        [judged] = [step.recipe for step in steps_of_seed(0, size) if step.recipe.get("scorers")]
        assert sum("random:" in scorer for scorer in judged["scorers"]) >= 10

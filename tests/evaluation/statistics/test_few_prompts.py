"""Few prompts and prompts alike: by hand, and simulated, that a scorer who knows nothing is seldom told from chance."""

import numpy as np
import pytest

from evaluation.statistics.correlation import correlate
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.few_prompts import NOTHING_MOVES, nothing_moves, too_few_prompts, unanimous_ends

MEANS = ("pairwise_accuracy", "spearman_per_prompt", "kendall_per_prompt")


def test_prompts_that_a_coin_decides_all_agree_too_often_below_six() -> None:
    # 2^(1 - 5) = 6.25 %, 2^(1 - 6) = 3.125 %
    assert too_few_prompts(5, 0.95) == "an interval at 95 % needs 6 prompts"
    assert too_few_prompts(6, 0.95) is None
    # 2^(1 - 4) = 12.5 % is 1 - c exactly
    assert too_few_prompts(4, 0.875) is None
    assert too_few_prompts(3, 0.875) == "an interval at 87.5 % needs 4 prompts"
    assert too_few_prompts(7, 0.99) == "an interval at 99 % needs 8 prompts"


def test_draws_that_differ_by_rounding_do_not_move() -> None:
    assert nothing_moves(np.array([0.7, 0.7 + 1e-15, np.nan]))
    assert nothing_moves(np.zeros(3))
    assert not nothing_moves(np.array([0.7, 0.7 + 1e-9]))
    assert not nothing_moves(np.full(3, np.nan))


def test_an_unanimous_mean_leaves_room_for_the_prompts_that_were_not_drawn() -> None:
    # (0.05 / 2)^(1 / 2) = 0.1581: so many prompts at least are as those two were
    assert unanimous_ends(1.0, (0, 1), 2, 0.95) == pytest.approx((0.1581, 1.0), abs=1e-4)
    assert unanimous_ends(0.5, (0, 1), 2, 0.95) == pytest.approx((0.0791, 0.9209), abs=1e-4)
    assert unanimous_ends(1.0, (-1, 1), 2, 0.95) == pytest.approx((2 * 0.1581 - 1, 1.0), abs=1e-4)


def told(prompts: int, k: int, seed: int) -> dict[str, Estimate]:
    """A scorer that knows nothing."""
    score, judgement = np.random.default_rng([3, prompts, seed]).standard_normal((2, prompts * k))
    clusters = np.repeat(np.arange(prompts), k)
    found = correlate(clusters, {"s": score}, {"o": judgement}, draws=200, confidence=0.95, seed=seed)
    return {each.statistic: each for each in found}


def test_of_five_prompts_nothing_has_an_interval() -> None:
    for each in told(5, 8, 0).values():
        assert (each.lower, each.undefined_reason) == (None, "an interval at 95 % needs 6 prompts")


@pytest.mark.parametrize(("prompts", "k"), [(6, 8), (7, 2), (8, 8)])
def test_a_scorer_that_knows_nothing_is_seldom_told_from_chance(prompts: int, k: int) -> None:
    wrong = dict.fromkeys(MEANS, 0)
    for seed in range(100):
        found = told(prompts, k, seed)
        for name in MEANS:
            lower, upper = found[name].lower, found[name].upper
            assert lower is not None
            assert upper is not None
            assert lower <= (found[name].estimate or 0.0) <= upper
            wrong[name] += not lower <= (0.5 if name == "pairwise_accuracy" else 0.0) <= upper
    # of 100 samples at 5 % ten or more are wrong once in 36 runs; with 0.6 in the place of 0.3 up to 17 were
    assert max(wrong.values()) < 10


def test_a_perfect_scorer_is_sure_of_every_prompt_and_of_no_correlation() -> None:
    judgement = np.tile([0.0, 1.0], 8)
    found = correlate(
        np.repeat(np.arange(8), 2), {"s": judgement}, {"o": judgement}, draws=200, confidence=0.95, seed=0
    )
    by_name = {each.statistic: each for each in found}
    assert (by_name["pearson_within"].estimate, by_name["pearson_within"].lower) == (1.0, None)
    # (0.025)^(1 / 8) = 0.6306
    assert by_name["pairwise_accuracy"].lower == pytest.approx(0.6306, abs=1e-4)
    assert by_name["spearman_per_prompt"].lower == pytest.approx(0.2611, abs=1e-4)
    for each in found:
        assert each.lower is None or each.upper is None or each.lower <= (each.estimate or 0.0) <= each.upper


def perfect(k: list[int], second: bool = False) -> dict[str, Estimate]:
    """Prompts with ``k`` responses each, in the oracle's order."""
    prompt = np.repeat(np.arange(len(k)), k)
    judgement = np.arange(float(len(prompt)))
    groups = np.arange(len(prompt)) % 3 if second else None
    found = correlate(
        prompt, {"s": judgement}, {"o": judgement}, draws=200, confidence=0.95, seed=0, second_cluster=groups
    )
    return {each.statistic: each for each in found}


def test_prompts_that_count_by_their_pairs_have_no_exact_interval_and_those_that_count_alike_have() -> None:
    found = perfect([2] * 7 + [9])  # the last has 36 of 43 pairs
    assert found["pairwise_accuracy"].undefined_reason == NOTHING_MOVES
    assert found["spearman_per_prompt"].lower == pytest.approx(0.2611, abs=1e-4)
    assert perfect([3] * 8)["pairwise_accuracy"].lower == pytest.approx(0.6306, abs=1e-4)


def test_unanimous_prompts_say_nothing_of_second_clusters() -> None:
    for name in MEANS:
        assert (perfect([3] * 8, second=True)[name].lower, perfect([3] * 8)[name].method[-14:]) == (
            None,
            "exact interval",
        )
        assert perfect([3] * 8, second=True)[name].undefined_reason == NOTHING_MOVES


def test_an_exact_interval_has_the_standard_error_of_a_normal_one_as_wide() -> None:
    # (1 - 0.6306) / 2 / 1.95996
    assert perfect([3] * 8)["pairwise_accuracy"].standard_error == pytest.approx(0.09424, abs=1e-5)

"""Win rates between policies: by hand, against counting pairs, and with too many policies to pair."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from evaluation.statistics import policy_wins
from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.measured import Frame
from evaluation.statistics.policy_wins import win_rates


def rates(prompt: Ints, policy: Ints, judgements: Floats, names: tuple[str, ...] = ("a", "b")) -> dict[str, Estimate]:
    frame = Frame(1.0, "all", 0.95, "a bootstrap", len(prompt), None)
    bootstrap = Bootstrap(int(prompt.max()) + 1, None, 400, 0)
    found = win_rates(prompt, policy, names, "judge", judgements, bootstrap, frame)
    return {f"{each.scorer} {each.statistic}": each for each in found}


def test_three_prompts_by_hand() -> None:
    # prompt 0: a has 3 and 1 against b's 2: half; prompt 1: equal, half; prompt 2: a wins; prompt 3: b alone
    prompt, policy = np.array([0, 0, 0, 1, 1, 2, 2, 3]), np.array([0, 0, 1, 0, 1, 0, 1, 1])
    found = rates(prompt, policy, np.array([3.0, 1, 2, 5, 5, 9, 4, 7]))
    assert found["a win_rate_over_b"].estimate == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found["b win_rate_over_a"].estimate == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert (found["a win_rate_over_b"].n_prompts, found["a win_rate_over_b"].n_responses) == (3, 7)
    assert found["a win_rate_over_b"].undefined_reason == "an interval at 95 % needs 6 prompts"


def one_response_each(wins: int, losses: int) -> Estimate:
    """a against b on prompts that both answered once."""
    prompts = wins + losses
    judgements = np.stack([np.arange(prompts) < wins, np.arange(prompts) >= wins], axis=-1).astype(float)
    return rates(np.repeat(np.arange(prompts), 2), np.tile([0, 1], prompts), judgements.ravel())["a win_rate_over_b"]


def test_who_wins_every_prompt_has_the_interval_of_clopper_and_pearson() -> None:
    for prompts in (6, 30):
        found = one_response_each(prompts, 0)
        exact = binomtest(prompts, prompts).proportion_ci(0.95, method="exact")
        assert (found.estimate, found.lower, found.upper) == pytest.approx((1.0, exact.low, exact.high))
        assert found.method.endswith("95 % exact interval")
        lost = one_response_each(0, prompts)
        assert (lost.estimate, lost.lower, lost.upper) == pytest.approx((0.0, 0.0, 1 - exact.low))


def test_a_coin_seldom_makes_one_policy_better() -> None:
    # of a coin's results the share that is resolved is 2 P(all) = 2^(1 - P), up to the first loss that still is
    for prompts, resolving in ((6, 6), (7, 7), (8, 8), (12, 10), (20, 15)):
        for wins in range(prompts // 2, prompts + 1):
            found = one_response_each(wins, prompts - wins)
            assert found.lower is not None
            assert found.upper is not None
            assert found.lower <= found.estimate <= found.upper <= 1
            if found.lower > 0.5:
                assert wins >= resolving
                break
        assert 2 * binom.sf(wins - 1, prompts, 0.5) <= 0.05


def test_pairs_are_counted_and_missing_judgements_left_out() -> None:
    generator = np.random.default_rng(0)
    prompt, policy = np.repeat(np.arange(30), 8), np.tile([0, 0, 0, 1, 1, 1, 1, 2], 30)
    judgements = np.round(generator.standard_normal(240) + 0.5 * (policy == 0), 1)
    judgements[::17] = np.nan
    found = rates(prompt, policy, judgements, ("a", "b", "c"))
    assert len(found) == 6
    shares = []
    for p in range(30):
        a, b = (judgements[(prompt == p) & (policy == g) & np.isfinite(judgements)] for g in (0, 1))
        if len(a) and len(b):
            shares.append(np.mean((np.sign(a[:, None] - b) + 1) / 2))
    one = found["a win_rate_over_b"]
    assert one.estimate == pytest.approx(np.mean(shares))
    assert one.standard_error == pytest.approx(np.std(shares) / np.sqrt(len(shares)), rel=0.15)
    assert one.n_dropped == int(np.isnan(judgements).sum())


def test_many_policies_are_compared_with_all_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_wins, "MOST_POLICIES", 2)
    prompt, policy = np.repeat(np.arange(20), 3), np.tile([0, 1, 2], 20)
    found = rates(prompt, policy, policy.astype(float), ("a", "b", "c"))
    assert {name: each.estimate for name, each in found.items()} == {
        "a win_rate_over_others": 0.0,
        "b win_rate_over_others": 0.5,
        "c win_rate_over_others": 1.0,
    }


def test_policies_without_a_common_prompt_are_not_compared() -> None:
    assert rates(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), np.arange(4.0)) == {}


def test_a_policy_whose_judgements_are_all_missing_is_told_of_with_the_reason() -> None:
    # both answered both prompts, and no answer of b was judged
    found = rates(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1.0, np.nan, 2.0, np.nan]))
    assert list(found) == ["a win_rate_over_b", "b win_rate_over_a"]
    one = found["a win_rate_over_b"]
    assert (one.estimate, one.lower, one.upper, one.n_prompts, one.n_dropped) == (None, None, None, 0, 2)
    assert one.undefined_reason == "no prompt has judgements of both"


def test_of_many_policies_one_that_was_never_judged_is_told_of_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_wins, "MOST_POLICIES", 2)
    prompt, policy = np.repeat(np.arange(20), 3), np.tile([0, 1, 2], 20)
    found = rates(prompt, policy, np.where(policy == 2, np.nan, policy), ("a", "b", "c"))
    assert {name: each.estimate for name, each in found.items()} == {
        "a win_rate_over_others": 0.0,
        "b win_rate_over_others": 1.0,
        "c win_rate_over_others": None,
    }

"""The formulas of PPO on trajectories worked by hand; padding changes nothing."""

import math

import pytest
import torch
from torch import Tensor

from trainer.policy_gradient import (
    KLEstimator,
    adapt_coefficient,
    clipped_surrogate,
    clipped_value_loss,
    generalized_advantages,
    group_advantages,
    kl_estimate,
    leave_one_out_advantages,
    lowest_reward,
    masked_mean,
    place_rewards,
    transform_scores,
    whiten,
)

# a prompt token, three tokens of response; the second response has one token and padding
MASK = torch.tensor([[False, True, True, True], [False, True, False, False]])
JUNK = 1e6
"""What stands outside the mask, and would show."""


def inside(first: list[float], second: float) -> Tensor:
    return torch.tensor([[JUNK, *first], [JUNK, second, JUNK, JUNK]])


def test_the_mean_is_over_the_masked_tokens() -> None:
    assert float(masked_mean(inside([1, 2, 3], 6), MASK)) == 3.0
    assert float(masked_mean(inside([1, 2, 3], 6), torch.zeros_like(MASK))) == 0.0


def test_whitened_values_have_mean_zero_and_variance_one() -> None:
    # 1, 2, 3, 6 have mean 3 and variance (4 + 1 + 0 + 9) / 4 = 3.5
    expected = torch.tensor([[0, -2, -1, 0], [0, 3, 0, 0]]) / math.sqrt(3.5)
    torch.testing.assert_close(whiten(inside([1, 2, 3], 6), MASK), expected)
    assert float(whiten(inside([5, 5, 5], 5), MASK).abs().max()) == 0.0


@pytest.mark.parametrize(
    ("estimator", "expected"),
    # p = 1/2, p_ref = 1/4: r = 1/2
    [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", 0.5 - 1 + math.log(2))],
)
def test_kl_estimates_of_one_token(estimator: KLEstimator, expected: float) -> None:
    found = kl_estimate(torch.tensor(math.log(0.5)), torch.tensor(math.log(0.25)), estimator)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    kl = float((p * (p / q).log()).sum())
    means = {name: float((p * kl_estimate(p.log(), q.log(), name)).sum()) for name in ("k1", "k2", "k3")}
    assert means["k1"] == pytest.approx(kl, abs=1e-6)
    assert means["k3"] == pytest.approx(kl, abs=1e-6)
    assert means["k2"] != pytest.approx(kl, abs=1e-3)
    assert bool((kl_estimate(p.log(), q.log(), "k3") >= 0).all())


@pytest.mark.parametrize(
    ("kl", "expected"),
    # within the clip e = (kl - 6) / 6; beyond it +-0.2
    [(6.0, 0.01), (6.6, 0.01 * 1.01), (60.0, 0.01 * 1.02), (0.0, 0.01 * 0.98)],
)
def test_the_adaptive_coefficient_follows_the_kl(kl: float, expected: float) -> None:
    assert adapt_coefficient(0.01, kl, target=6.0) == pytest.approx(expected)


def test_scores_become_rewards_within_their_clamp() -> None:
    scores = torch.tensor([-30.0, 0.0, 2.0, 30.0])
    assert transform_scores(scores, "logit", 10).tolist() == [-10.0, 0.0, 2.0, 10.0]
    torch.testing.assert_close(
        transform_scores(scores, "log_sigmoid", 10), torch.tensor([-10.0, -0.693147, -0.126928, -9.4e-14])
    )
    torch.testing.assert_close(transform_scores(scores, "sigmoid", 10), torch.tensor([9.4e-14, 0.5, 0.880797, 1.0]))
    worst = torch.tensor([-1e9])
    for transform in ("logit", "log_sigmoid", "sigmoid"):
        assert lowest_reward(transform, 10) == float(transform_scores(worst, transform, 10))


def test_the_score_is_paid_at_the_last_token_and_the_kl_at_each() -> None:
    rewards = place_rewards(torch.tensor([2.0, 5.0]), inside([1, 0, -1], 10), 0.1, MASK)
    torch.testing.assert_close(rewards, torch.tensor([[0, -0.1, 0.0, 2.1], [0, 4.0, 0, 0]]))


def test_advantages_of_a_trajectory_worked_by_hand() -> None:
    # rewards 0 0 1, values 0.5 0.4 0.2, gamma 0.9, lambda 0.5:
    # delta = 0.9 * 0.4 - 0.5, 0.9 * 0.2 - 0.4, 1 - 0.2 = -0.14, -0.22, 0.8
    # A_3 = 0.8, A_2 = -0.22 + 0.45 * 0.8 = 0.14, A_1 = -0.14 + 0.45 * 0.14 = -0.077
    rewards = torch.tensor([[0.0, 0, 0, 1], [0, 3, 0, 0]])
    advantages, returns = generalized_advantages(rewards, inside([0.5, 0.4, 0.2], 1.0), MASK, gamma=0.9, decay=0.5)
    torch.testing.assert_close(advantages, torch.tensor([[0, -0.077, 0.14, 0.8], [0, 2.0, 0, 0]]))
    torch.testing.assert_close(returns, torch.tensor([[0, 0.423, 0.54, 1.0], [0, 3.0, 0, 0]]))


def test_lambda_one_gives_the_return_less_the_value_and_lambda_zero_the_one_step_error() -> None:
    torch.manual_seed(0)
    rewards, values, mask = torch.randn(3, 6), torch.randn(3, 6), torch.ones(3, 6, dtype=torch.bool)
    to_come = rewards.flip(1).cumsum(1).flip(1)
    advantages, returns = generalized_advantages(rewards, values, mask, gamma=1.0, decay=1.0)
    torch.testing.assert_close(advantages, to_come - values)
    torch.testing.assert_close(returns, to_come)
    one_step, _ = generalized_advantages(rewards, values, mask, gamma=1.0, decay=0.0)
    following = torch.cat([values[:, 1:], torch.zeros(3, 1)], dim=1)
    torch.testing.assert_close(one_step, rewards + following - values)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # enough: no reason to go further up
        (0.5, 2.0, -1.0, -1.0),
        (0.5, -2.0, 1.6, 0.0),  # enough: no reason to go further down
        (1.5, -2.0, 3.0, 3.0),
    ],
)
def test_the_surrogate_is_clipped_where_it_would_gain(
    ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    logp = torch.tensor([math.log(ratio) - 3.0], requires_grad=True)
    found = clipped_surrogate(logp, torch.tensor([-3.0]), torch.tensor([advantage]), 0.2)
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(loss, abs=1e-5)
    assert logp.grad is not None
    assert float(logp.grad) == pytest.approx(gradient, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "loss"),
    [
        (1.1, 0.5 * 0.9**2),
        (1.5, 0.5 * 0.8**2),  # nearer to the return, but the clipped value is 1.2
        (0.5, 0.5 * 1.5**2),
    ],
)
def test_the_value_loss_is_clipped_around_the_old_value(value: float, loss: float) -> None:
    found = clipped_value_loss(torch.tensor([value]), torch.tensor([1.0]), torch.tensor([2.0]), 0.2)
    assert float(found) == pytest.approx(loss)
    free = clipped_value_loss(torch.tensor([value]), torch.tensor([1.0]), torch.tensor([2.0]), None)
    assert float(free) == pytest.approx(0.5 * (value - 2) ** 2)


def test_advantages_without_a_critic() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])
    # the others' means are 4, 3.5 and 1.5
    torch.testing.assert_close(leave_one_out_advantages(rewards), torch.tensor([[-3.0, -1.5, 4.5], [0, 0, 0]]))
    # mean 3, population variance (4 + 1 + 9) / 3
    spread = math.sqrt(14 / 3) + 1e-4
    torch.testing.assert_close(group_advantages(rewards), torch.tensor([[-2.0, -1.0, 3.0], [0, 0, 0]]) / spread)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(1)
    mask = torch.tensor([[False, False, True, True, True], [False, True, True, False, False]])
    kl, values, terminal = torch.randn(2, 5), torch.randn(2, 5), torch.randn(2)

    def chain(kl: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        rewards = place_rewards(terminal, kl, 0.05, mask)
        advantages, _ = generalized_advantages(rewards, values, mask, gamma=0.99, decay=0.95)
        return whiten(advantages, mask)

    def pad(tensor: Tensor, fill: float) -> Tensor:
        return torch.nn.functional.pad(tensor, (3, 4), value=fill)

    alone = chain(kl, values, mask)
    among = chain(pad(kl, JUNK), pad(values, JUNK), pad(mask.float(), 0.0).bool())
    torch.testing.assert_close(among, pad(alone, 0.0))

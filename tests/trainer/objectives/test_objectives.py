"""Preference losses agree with numbers worked by hand."""

import math
from dataclasses import replace

import pytest
import torch

from trainer.objectives import DPO, IPO, KTO, ORPO, SimPO
from trainer.objectives.contract import PreferenceLogps


def logps() -> PreferenceLogps:
    return PreferenceLogps(
        chosen=torch.tensor([-10.0]),
        rejected=torch.tensor([-12.0]),
        reference_chosen=torch.tensor([-11.0]),
        reference_rejected=torch.tensor([-10.0]),
        chosen_tokens=torch.tensor([5]),
        rejected_tokens=torch.tensor([4]),
    )


def test_dpo_by_hand() -> None:
    outcome = DPO(beta=0.5)(logps())
    # rewards 0.5 x 1 and 0.5 x -2, margin 1.5
    assert outcome.chosen_rewards.item() == pytest.approx(0.5)
    assert outcome.rejected_rewards.item() == pytest.approx(-1.0)
    assert outcome.losses.item() == pytest.approx(math.log(1 + math.exp(-1.5)))


def test_dpo_with_label_smoothing_by_hand() -> None:
    expected = 0.9 * math.log(1 + math.exp(-1.5)) + 0.1 * math.log(1 + math.exp(1.5))
    assert DPO(beta=0.5, label_smoothing=0.1)(logps()).losses.item() == pytest.approx(expected)


def test_robust_dpo_by_hand() -> None:
    expected = (0.9 * math.log(1 + math.exp(-1.5)) - 0.1 * math.log(1 + math.exp(1.5))) / 0.8
    assert DPO(beta=0.5, label_smoothing=0.1, robust=True)(logps()).losses.item() == pytest.approx(expected)


def test_ipo_by_hand() -> None:
    # log-ratios 1 and -2 of 5 and 4 tokens: 0.2 + 0.5 per token, 3 in all; aimed at 1 / (2 x 0.25) = 2
    outcome = IPO(beta=0.25)(logps())
    assert outcome.losses.item() == pytest.approx((0.7 - 2) ** 2)
    assert IPO(beta=0.25, length_normalised=False)(logps()).losses.item() == pytest.approx((3 - 2) ** 2)
    assert (outcome.chosen_rewards.item(), outcome.rejected_rewards.item()) == pytest.approx((0.25, -0.5))


def test_kto_by_hand() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    given = replace(logps(), mismatched_log_ratio=torch.tensor(0.4))
    outcome = KTO(beta=0.5, desirable_weight=3.0, undesirable_weight=2.0)(given)
    # log-ratios 1 and -2 against a reference point of 0.4
    expected = [3 * (1 - sigmoid(0.5 * (1 - 0.4))), 2 * (1 - sigmoid(0.5 * (0.4 + 2)))]
    assert outcome.losses.tolist() == pytest.approx(expected)
    assert outcome.metrics["kl"].item() == pytest.approx(0.4)
    below = KTO(beta=0.5)(replace(logps(), mismatched_log_ratio=torch.tensor(-7.0)))
    assert below.losses.tolist() == pytest.approx(
        [1 - sigmoid(0.5), 1 - sigmoid(1.0)]
    )  # a divergence is never negative


def test_kto_sends_no_gradient_through_its_reference_point() -> None:
    mismatched = torch.tensor(0.4, requires_grad=True)
    chosen = torch.tensor([-10.0], requires_grad=True)
    KTO()(replace(logps(), chosen=chosen, mismatched_log_ratio=mismatched)).losses.sum().backward()
    assert chosen.grad is not None
    assert mismatched.grad is None


def test_kto_of_rows_that_are_all_bad_is_finite() -> None:
    none, given = torch.zeros(0), logps()
    one_sided = replace(
        given, chosen=none, reference_chosen=none, chosen_tokens=none, mismatched_log_ratio=torch.tensor(0.0)
    )
    outcome = KTO(beta=0.5)(one_sided)
    assert outcome.losses.tolist() == pytest.approx([1 - 1 / (1 + math.exp(-1.0))])
    assert outcome.chosen_rewards.shape == (0,)


def test_orpo_by_hand() -> None:
    # per token log 1/2 and log 1/4: odds 1 and 1/3, so log odds ratio log 3 and sigmoid of it 3/4
    given = replace(logps(), chosen=torch.tensor([5 * math.log(0.5)]), rejected=torch.tensor([4 * math.log(0.25)]))
    outcome = ORPO(beta=0.2)(given)
    assert outcome.losses.item() == pytest.approx(math.log(2) - 0.2 * math.log(0.75))
    assert outcome.metrics["log_odds_chosen"].item() == pytest.approx(math.log(3))
    assert outcome.chosen_rewards.item() == pytest.approx(0.2 * math.log(0.5))


def test_orpo_counts_tokens_as_trl_does_where_asked_to() -> None:
    # 6 and 14 tokens of chosen texts, prompts included: the mean over 20 tokens, not of two means
    pair = PreferenceLogps(
        *(torch.tensor([-2.0, -8.0]), torch.tensor([-3.0, -9.0]), torch.zeros(2), torch.zeros(2)),
        *(torch.tensor([2, 4]), torch.tensor([2, 4])),
        chosen_text=torch.tensor([-6.0, -24.0]),
        chosen_text_tokens=torch.tensor([6, 14]),
    )
    assert ORPO(nll="trl")(pair).metrics["nll_loss"].mean().item() == pytest.approx(30 / 20)
    assert ORPO()(pair).metrics["nll_loss"].mean().item() == pytest.approx((2 / 2 + 8 / 4) / 2)


def test_orpo_of_a_certain_response_has_a_finite_gradient() -> None:
    chosen = torch.tensor([0.0, -1e-7, -1e-5], requires_grad=True)
    two = torch.full((3,), 2)
    given = PreferenceLogps(chosen, torch.tensor([-1.0] * 3), *(torch.zeros(3),) * 2, two, two)
    losses = ORPO()(given).losses
    losses.sum().backward()
    assert losses.isfinite().all()
    assert chosen.grad is not None
    assert chosen.grad.isfinite().all()


def test_simpo_by_hand() -> None:
    # 2 x (-10/5) - 2 x (-12/4) = 2, minus gamma = 0.5 x 2
    assert SimPO(beta=2.0, gamma_ratio=0.5)(logps()).losses.item() == pytest.approx(math.log(1 + math.exp(-1.0)))


def test_simpo_with_label_smoothing_by_hand() -> None:
    expected = 0.8 * math.log(1 + math.exp(-1.0)) + 0.2 * math.log(1 + math.exp(1.0))
    smoothed = SimPO(beta=2.0, gamma_ratio=0.5, label_smoothing=0.2)(logps())
    assert smoothed.losses.item() == pytest.approx(expected)


def test_simpo_does_not_look_at_the_reference() -> None:
    plain = logps()
    other = PreferenceLogps(
        plain.chosen,
        plain.rejected,
        plain.reference_chosen * 9,
        plain.reference_rejected * 9,
        plain.chosen_tokens,
        plain.rejected_tokens,
    )
    assert SimPO()(plain).losses.item() == SimPO()(other).losses.item()

"""Preference losses agree with numbers worked by hand."""

import math

import pytest
import torch

from trainer.objectives import DPO, SimPO
from trainer.objectives.bradley_terry import bradley_terry, pointwise_bce
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


def test_simpo_by_hand() -> None:
    # 2 x (-10/5) - 2 x (-12/4) = 2, minus gamma = 0.5 x 2
    assert SimPO(beta=2.0, gamma_ratio=0.5)(logps()).losses.item() == pytest.approx(math.log(1 + math.exp(-1.0)))


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


def test_bradley_terry_and_its_centring_by_hand() -> None:
    chosen, rejected = torch.tensor([2.0]), torch.tensor([1.0])
    assert bradley_terry(chosen, rejected).item() == pytest.approx(math.log(1 + math.exp(-1.0)))
    assert bradley_terry(chosen, rejected, centring=0.01).item() == pytest.approx(math.log(1 + math.exp(-1.0)) + 0.09)


def test_pointwise_bce_by_hand() -> None:
    loss = pointwise_bce(torch.tensor([2.0]), torch.tensor([-1.0]))
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)

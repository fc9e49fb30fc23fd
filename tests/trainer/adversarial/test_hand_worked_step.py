"""One step of the game on one feature and linear discriminators, every number worked out by hand.

C(h) = w h + v with v = 0, w_chosen = 1, w_rejected = -1. One pair, one token each:

    h_ref+ = 2, h_theta+ = 1, h_ref- = -1, h_theta- = 0

so C_chosen gives 2, 1, -1 on (ref+, theta+, ref-) and C_rejected gives 1, 0, -2 on (ref-, theta-, ref+), and the means
of the first batch are those numbers themselves. Write s(x) = 1 / (1 + exp(-x)); s(1) = .731059, s(2) = .880797.

BCE(ref+, theta+) = -log s(2 - 1) - log s(-(1 - 2)) = 2 softplus(-1) = .626523
BCE(theta+, ref-) = -log s(1 + 1) - log s(-(-1 - 1)) = 2 softplus(-2) = .253856
L_pos = .880379. C_rejected's logits have the differences 1 and 2 as well: L_neg = .880379.

Gradients, means constant; d/dx softplus(-x) = s(x) - 1:
dL_pos/dw = (s(1)-1) 2 + (1-s(1)) 1 + (s(2)-1) 1 + (1-s(2)) (-1)
          = -.268941 * 2 + .268941 - .119203 - .119203 = -.507347
dL_neg/dw = (s(1)-1) h_ref- + (1-s(1)) h_theta- + (s(2)-1) h_theta- + (1-s(2)) h_ref+
          = -.268941 * (-1) + 0 + 0 + .119203 * 2 = .507347
Both biases: -.268941 + .268941 - .119203 + .119203 = 0.
Norm over both: sqrt(2) * .507347 = .717497.

The policy plays against the same networks: L_adv = softplus(-(1 - 2)) + softplus(-(0 - 1)) = 2 softplus(1) = 2.626523;
dL_adv/dh_theta+ = (s(-1) - 1) w_chosen = -.731059; dL_adv/dh_theta- = (s(-1) - 1) w_rejected = .731059.
Saturating: L_adv = log s(-(1 - 2)) + log s(1) = -.626523; dL_adv/dh_theta+ = -s(1 - 2) = -.268941, and .268941.
"""

from collections.abc import Callable

import pytest
import torch

from trainer.adversarial.latent_sets import LatentSets
from trainer.adversarial.relativistic_average import AdversarialLoss
from trainer.adversarial.settings import Adversarial
from trainer.adversarial.state import AdversarialState
from trainer.models.discriminators import LinearDiscriminator
from trainer.models.latents import Latents
from trainer.models.policy import PairBatch

ONE = torch.ones(2, 1, dtype=torch.bool)
BATCH = PairBatch(torch.zeros(2, 1, dtype=torch.long), ONE.long(), ONE)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def game(loss: AdversarialLoss = "non_saturating", weight: float = 1.0) -> AdversarialState:
    """A rate of 1e-12 leaves the weights where they are for six digits."""
    config = Adversarial(discriminator=LinearDiscriminator(), learning_rate=1e-12, loss=loss, weight=weight)
    state = AdversarialState(config, 1, seed=0)
    with torch.no_grad():
        for name, slope in (("chosen", 1.0), ("rejected", -1.0)):
            state.networks[name].direction.weight.fill_(slope)  # type: ignore[union-attr, operator]
    return state


def reference() -> Latents:
    return Latents(column(2.0, -1.0), ONE)


def test_the_discriminators_losses_and_gradients() -> None:
    state = game()
    hidden = column(1.0, 0.0).requires_grad_()
    metrics = state.observe(LatentSets(Latents(hidden, ONE), reference()), 0.5, last=False)
    gradients = {name: parameter.grad for name, parameter in state.discriminators.named_parameters()}
    assert float(metrics["discriminator/chosen/loss"]) == pytest.approx(0.880379, abs=1e-6)
    assert float(metrics["discriminator/rejected/loss"]) == pytest.approx(0.880379, abs=1e-6)
    expected = {"chosen.direction.weight": -0.507347, "rejected.direction.weight": 0.507347}
    for name, gradient in gradients.items():
        assert gradient is not None
        assert gradient.item() == pytest.approx(0.5 * expected.get(name, 0.0), abs=1e-6)  # its share
    assert hidden.grad is None


def test_a_step_tells_its_norm_and_means() -> None:
    metrics = game().observe(LatentSets(Latents(column(1.0, 0.0), ONE), reference()), 1.0, last=True)
    told = {name.removeprefix("discriminator/"): float(value) for name, value in metrics.items()}
    assert told["grad_norm"] == pytest.approx(0.717497, abs=1e-6)
    assert told["chosen/mean_reference_chosen"] == pytest.approx(2.0)
    assert told["chosen/mean_policy_chosen"] == pytest.approx(1.0)
    assert told["chosen/mean_reference_rejected"] == pytest.approx(-1.0)
    assert told["rejected/mean_reference_rejected"] == pytest.approx(1.0)
    assert told["rejected/mean_policy_rejected"] == pytest.approx(0.0)
    assert told["rejected/mean_reference_chosen"] == pytest.approx(-2.0)
    assert told["chosen/auc_reference_policy"] == told["chosen/auc_chosen_rejected"] == 1.0


@pytest.mark.parametrize(
    ("kind", "loss", "slope"), [("non_saturating", 2.626523, 0.731059), ("saturating", -0.626523, 0.268941)]
)
def test_what_the_policy_is_told(kind: AdversarialLoss, loss: float, slope: float) -> None:
    """The objective here is 3 h_theta+ + 4 h_theta-, whose gradient is (3, 4): norm 5.

    The regulariser's is (-slope, slope): norm sqrt(2) slope, cosine (4 - 3) slope / (5 sqrt(2) slope) = .141421.
    With a weight of 2 and a share of 1/2 the policy gets (3 - 2 slope, 4 + 2 slope) / 2.
    """
    state = game(kind, weight=2.0)
    parameter = column(1.0, 0.0).requires_grad_()
    hidden = parameter * 1.0
    objective = 3 * hidden[0, 0, 0] + 4 * hidden[1, 0, 0]
    told = state.backward(objective, hidden, reference(), BATCH, 0.5, chosen=1, last=True)
    assert parameter.grad is not None
    assert parameter.grad.flatten().tolist() == pytest.approx([(3 - 2 * slope) / 2, (4 + 2 * slope) / 2], abs=1e-5)
    assert float(told["adversarial_loss"]) == pytest.approx(loss, abs=1e-6)
    assert float(told["adversarial/objective_gradient_norm"]) == pytest.approx(5.0, abs=1e-4)
    assert float(told["adversarial/gradient_norm"]) == pytest.approx(2**0.5 * slope, abs=1e-5)
    assert float(told["adversarial/gradient_cosine"]) == pytest.approx(0.141421, abs=1e-5)
    assert all(each.grad is None for each in state.discriminators.parameters())


@pytest.mark.parametrize("accumulation", [1, 4, 16])
def test_policy_and_discriminators_step_equally_often(accumulation: int, latents: Callable[..., Latents]) -> None:
    config = Adversarial(discriminator=LinearDiscriminator())
    state = AdversarialState(config, 8, seed=0)
    policy = torch.nn.Linear(8, 8)
    adam = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    mask = torch.ones(4, 5, dtype=torch.bool)
    batch = PairBatch(torch.zeros(4, 5, dtype=torch.long), mask.long(), mask)
    for _ in range(3):
        for micro in range(accumulation):
            hidden = policy(latents(micro).hidden_states)
            last = micro == accumulation - 1
            state.backward(hidden.mean(), hidden, latents(90 + micro), batch, 1 / accumulation, chosen=2, last=last)
        adam.step()
        adam.zero_grad()
    assert {int(entry["step"]) for entry in adam.state.values()} == {3}
    assert {int(entry["step"]) for entry in state.optimizer.state.values()} == {3}


def test_gradients_are_unknown_where_nothing_has_a_share() -> None:
    state = game()
    hidden = column(1.0, 0.0).requires_grad_() * 1.0
    told = state.backward(hidden.sum(), hidden, reference(), BATCH, 0.0, chosen=1, last=True)
    assert all(torch.isfinite(torch.as_tensor(value)) for value in told.values())

"""The two-player game: isolated gradients, one step a batch, moving means, padding without effect."""

import pytest
import torch

from trainer.adversarial.state import Adversarial, AdversarialState, LatentSets
from trainer.models.discriminators import TransformerDiscriminator
from trainer.models.latents import Latents

CONFIG = Adversarial(
    discriminator=TransformerDiscriminator(width=16, layers=1, heads=2, positions=16), learning_rate=1e-3
)


def latents(seed: int, batch: int = 4, length: int = 5) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    return Latents(torch.randn(batch, length, 8, generator=generator), torch.ones(batch, length, dtype=torch.bool))


def weights(state: AdversarialState) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in state.parameters()])


def test_the_discriminators_loss_never_reaches_the_policy() -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    policy = latents(1)
    policy.hidden_states.requires_grad_()
    state.observe(LatentSets(policy, latents(2)), 1.0, last=True)
    assert policy.hidden_states.grad is None


def test_the_policys_loss_reaches_the_policy_and_stops_at_the_discriminators() -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    policy = latents(1)
    policy.hidden_states.requires_grad_()
    sets = LatentSets(policy, latents(2))
    state.observe(sets, 1.0, last=True)
    state.loss(sets).backward()
    assert policy.hidden_states.grad is not None
    assert policy.hidden_states.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in state.parameters())


@pytest.mark.parametrize("accumulation", [1, 4])
def test_one_discriminator_step_per_optimiser_step(accumulation: int) -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    before = weights(state)
    for micro in range(accumulation - 1):
        state.observe(LatentSets(latents(micro), latents(50 + micro)), 1 / accumulation, last=False)
        assert torch.equal(weights(state), before)
    state.observe(LatentSets(latents(90), latents(91)), 1 / accumulation, last=True)
    assert not torch.equal(weights(state), before)
    steps = {int(entry["step"]) for entry in state.optimizer.state.values()}
    assert steps == {1}


def test_moving_means_start_at_the_first_batch_and_then_decay() -> None:
    state = AdversarialState(CONFIG.model_copy(update={"learning_rate": 1e-12}), 8, seed=0)
    sets = LatentSets(latents(1), latents(2))
    state.observe(sets, 1.0, last=True)
    first = state.means.clone()
    expected = state.chosen(sets["reference_chosen"].hidden_states, sets["reference_chosen"].mask).mean()
    assert first[0, 0].item() == pytest.approx(expected.item(), abs=1e-4)
    other = LatentSets(latents(3), latents(4))
    batch_mean = state.chosen(other["reference_chosen"].hidden_states, other["reference_chosen"].mask).mean()
    state.observe(other, 1.0, last=True)
    assert state.means[0, 0].item() == pytest.approx(0.9 * first[0, 0].item() + 0.1 * batch_mean.item(), abs=1e-4)


def test_moving_means_start_at_the_first_batch_however_it_is_divided() -> None:
    policy, reference = latents(1), latents(2)
    whole, parts = AdversarialState(CONFIG, 8, seed=0), AdversarialState(CONFIG, 8, seed=0)
    whole.observe(LatentSets(policy, reference), 1.0, last=True)
    for pair in (0, 1):  # rows 0, 1 are chosen; 2, 3 rejected
        rows = [pair, pair + 2]
        sets = LatentSets(*(Latents(each.hidden_states[rows], each.mask[rows]) for each in (policy, reference)))
        parts.observe(sets, 0.5, last=pair == 1)
    assert parts.means.flatten().tolist() == pytest.approx(whole.means.flatten().tolist(), abs=1e-3)


def test_padding_does_not_move_a_logit() -> None:
    network = AdversarialState(CONFIG, 8, seed=0).eval().chosen
    plain = latents(5, batch=2, length=3)
    padded = torch.cat([plain.hidden_states, torch.full((2, 4, 8), 7.0)], dim=1)
    mask = torch.cat([plain.mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    assert network(padded, mask).tolist() == pytest.approx(network(plain.hidden_states, plain.mask).tolist(), abs=1e-5)


def test_a_response_longer_than_the_positions_has_a_logit() -> None:
    network = AdversarialState(CONFIG, 8, seed=0).eval().chosen
    longer = latents(5, length=40)
    assert torch.isfinite(network(longer.hidden_states, longer.mask)).all()


def test_a_fresh_discriminator_gives_small_logits() -> None:
    network = AdversarialState(CONFIG, 8, seed=0).eval().chosen
    sample = latents(6, batch=32)
    assert network(sample.hidden_states, sample.mask).abs().max() < 20


def test_equal_seeds_give_equal_discriminators() -> None:
    assert torch.equal(weights(AdversarialState(CONFIG, 8, seed=3)), weights(AdversarialState(CONFIG, 8, seed=3)))
    assert not torch.equal(weights(AdversarialState(CONFIG, 8, seed=3)), weights(AdversarialState(CONFIG, 8, seed=4)))

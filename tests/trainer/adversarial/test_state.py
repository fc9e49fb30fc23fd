"""The two-player game: isolated gradients, one step a batch, moving means, the same however a batch is divided."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from trainer.adversarial.latent_sets import LatentSets
from trainer.adversarial.settings import Adversarial
from trainer.adversarial.state import AdversarialState
from trainer.models.discriminators import MLPDiscriminator, RandomDiscriminator, TransformerDiscriminator
from trainer.models.latents import Latents

Make = Callable[..., Latents]
CONFIG = Adversarial(
    discriminator=TransformerDiscriminator(width=16, layers=1, heads=2, positions=16), learning_rate=1e-3
)


def weights(state: AdversarialState) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in state.parameters()])


def everything(state: AdversarialState) -> list[float]:
    return [*weights(state).tolist(), *state.discriminators.means.flatten().tolist()]


def some(each: Latents, rows: list[int]) -> Latents:
    return Latents(each.hidden_states[rows], each.mask[rows])


def test_the_discriminators_loss_never_reaches_the_policy(latents: Make) -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    policy = latents(1)
    policy.hidden_states.requires_grad_()
    state.observe(LatentSets(policy, latents(2)), 1.0, last=True)
    assert policy.hidden_states.grad is None


def test_the_policys_loss_reaches_the_policy_and_stops_at_the_discriminators(latents: Make) -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    policy = latents(1)
    policy.hidden_states.requires_grad_()
    sets = LatentSets(policy, latents(2))
    state.observe(sets, 1.0, last=True)
    state.loss(sets).backward()
    assert policy.hidden_states.grad is not None
    assert policy.hidden_states.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in state.parameters())


@pytest.mark.parametrize("accumulation", [1, 4, 16])
def test_one_discriminator_step_per_optimiser_step(accumulation: int, latents: Make) -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    before = weights(state)
    for step in (1, 2, 3):
        for micro in range(accumulation):
            last = micro == accumulation - 1
            state.observe(LatentSets(latents(micro), latents(50 + micro)), 1 / accumulation, last=last)
            assert torch.equal(weights(state), before) is not last
        assert {int(entry["step"]) for entry in state.optimizer.state.values()} == {step}
        before = weights(state)


def test_moving_means_start_at_the_first_batch_and_then_decay(latents: Make) -> None:
    state = AdversarialState(CONFIG.model_copy(update={"learning_rate": 1e-12}), 8, seed=0)
    network, means = state.networks["chosen"], state.discriminators.means

    @torch.no_grad()
    def mean(sets: LatentSets) -> float:
        return float(network(sets["reference_chosen"].hidden_states, sets["reference_chosen"].mask).mean())

    first, second = LatentSets(latents(1), latents(2)), LatentSets(latents(3), latents(4))
    state.observe(first, 1.0, last=True)
    assert means[0, 0].item() == pytest.approx(mean(first), abs=1e-4)
    state.observe(second, 1.0, last=True)
    assert means[0, 0].item() == pytest.approx(0.9 * mean(first) + 0.1 * mean(second), abs=1e-4)


@pytest.mark.parametrize("chosen", [4, 6, 7])
def test_a_batch_of_paired_or_unpaired_responses_teaches_the_same_however_it_is_divided(
    chosen: int, latents: Make
) -> None:
    """Chosen and rejected counts 4 + 4, 6 + 2 and 7 + 1: most parts lack one side of the last."""
    policy, reference = latents(1, batch=8), latents(2, batch=8)
    whole, parts = AdversarialState(CONFIG, 8, seed=0), AdversarialState(CONFIG, 8, seed=0)
    for state in (whole, parts):  # a first step, after which the means are known to every micro-batch
        state.observe(LatentSets(latents(3), latents(4)), 1.0, last=True)
    whole.observe(LatentSets(policy, reference, chosen), 1.0, last=True)
    division = [[0, 4], [1, 5], [2, 6], [3, 7]]
    losses = []
    for rows in division:
        count = sum(row < chosen for row in rows)
        sets = LatentSets(some(policy, rows), some(reference, rows), count)
        metrics = parts.observe(sets, 0.25, last=rows == division[-1])
        losses.append(float(metrics["discriminator/chosen/loss"]))
    assert torch.isfinite(torch.tensor(losses)).all()
    expected = whole.discriminators.means.flatten().tolist()
    assert parts.discriminators.means.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_gradients_of_parts_add_up_to_the_whole_batchs(latents: Make) -> None:
    config = CONFIG.model_copy(update={"decay": 0.0, "quad": True})
    policy, reference = latents(1, batch=6), latents(2, batch=6)
    state = AdversarialState(config, 8, seed=0)
    state.observe(LatentSets(policy, reference, 5), 1.0, last=True)
    discriminators = state.discriminators
    held = discriminators.means.clone()

    def gradients(division: list[list[int]]) -> torch.Tensor:
        discriminators.zero_grad()
        for rows in division:
            sets = LatentSets(some(policy, rows), some(reference, rows), sum(row < 5 for row in rows))
            discriminators.means.copy_(held)
            loss, _ = discriminators(sets, len(rows) / 6, last=False)
            (len(rows) / 6 * loss).backward()
        return torch.cat([parameter.grad.flatten() for parameter in discriminators.parameters()])

    state.requires_grad_(True)
    whole = gradients([[0, 1, 2, 3, 4, 5]])
    assert whole.norm() > 1e-3
    assert (gradients([[0], [1, 5], [2, 3], [4]]) - whole).abs().max() < 1e-5


def test_one_side_may_be_missing_from_a_whole_step(latents: Make) -> None:
    state = AdversarialState(CONFIG, 8, seed=0)
    for chosen in (0, 4):
        sets = LatentSets(latents(1), latents(2), chosen)
        metrics = state.observe(sets, 1.0, last=True)
        assert all(torch.isfinite(torch.as_tensor(value)) for value in metrics.values())
        assert torch.isfinite(state.loss(sets))
    assert torch.isfinite(weights(state)).all()


def test_a_mean_starts_at_the_first_batch_that_has_its_set(latents: Make) -> None:
    state = AdversarialState(CONFIG.model_copy(update={"learning_rate": 1e-12}), 8, seed=0)
    state.observe(LatentSets(latents(1), latents(2), 0), 1.0, last=True)  # rejected alone
    assert state.discriminators.means[0, 0] == 0
    sets = LatentSets(latents(3), latents(4), 2)
    state.observe(sets, 1.0, last=True)
    with torch.no_grad():
        logits = state.networks["chosen"](sets["reference_chosen"].hidden_states, sets["reference_chosen"].mask)
    assert state.discriminators.means[0, 0].item() == pytest.approx(logits.mean().item(), abs=1e-4)


def test_a_mean_moves_once_per_step_also_while_another_has_not_started(latents: Make) -> None:
    """Steps of rejected responses alone, the second in two micro-batches: what has started does not move between."""
    whole, parts = (AdversarialState(CONFIG, 8, seed=0) for _ in range(2))
    policy, reference = latents(3, batch=4), latents(4, batch=4)
    for state in (whole, parts):
        state.observe(LatentSets(latents(1), latents(2), 0), 1.0, last=True)
    held = parts.discriminators.means.clone()
    whole.observe(LatentSets(policy, reference, 0), 1.0, last=True)
    for rows in ([0, 1], [2, 3]):
        assert torch.equal(parts.discriminators.means, held)
        parts.observe(LatentSets(some(policy, rows), some(reference, rows), 0), 0.5, last=rows == [2, 3])
    expected = whole.discriminators.means.flatten().tolist()
    assert parts.discriminators.means.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_what_has_no_share_changes_nothing(latents: Make) -> None:
    alone, beside = AdversarialState(CONFIG, 8, seed=0), AdversarialState(CONFIG, 8, seed=0)
    alone.observe(LatentSets(latents(1), latents(2)), 1.0, last=True)
    beside.observe(LatentSets(latents(1), latents(2)), 1.0, last=False)
    beside.observe(LatentSets(latents(7), latents(8)), 0.0, last=True)
    assert everything(beside) == pytest.approx(everything(alone), abs=1e-6)


def test_random_discriminators_stay_as_they_were_while_their_means_move(latents: Make) -> None:
    config = Adversarial(discriminator=RandomDiscriminator(of=MLPDiscriminator(width=8)))
    state = AdversarialState(config, 8, seed=0)
    policy = latents(1)
    policy.hidden_states.requires_grad_()
    before, sets = weights(state), LatentSets(policy, latents(2))
    state.observe(sets, 1.0, last=True)
    state.loss(sets).backward()
    assert torch.equal(weights(state), before)
    assert state.discriminators.means.abs().min() > 0
    assert policy.hidden_states.grad is not None


def test_a_restored_game_continues_as_if_never_interrupted(latents: Make) -> None:
    straight, second = AdversarialState(CONFIG, 8, seed=0), AdversarialState(CONFIG, 8, seed=1)
    straight.observe(LatentSets(latents(1), latents(2)), 1.0, last=True)
    saved: Any = io.BytesIO()
    torch.save(straight.snapshot(), saved)
    saved.seek(0)
    second.restore(torch.load(saved, weights_only=True))
    for state in (straight, second):
        state.observe(LatentSets(latents(3), latents(4)), 1.0, last=True)
    assert everything(second) == everything(straight)


def test_the_authors_scale_takes_means_of_terms_where_the_paper_sums(latents: Make) -> None:
    sets, scaled = LatentSets(latents(1), latents(2)), {}
    for scale in ("paper", "code"):
        state = AdversarialState(CONFIG.model_copy(update={"loss_scale": scale}), 8, seed=0)
        loss, _ = state.discriminators(sets, 1.0, last=True)
        scaled[scale] = loss.item(), state.loss(sets).item()
    assert scaled["code"][0] == pytest.approx(scaled["paper"][0] / 4)
    assert scaled["code"][1] == pytest.approx(scaled["paper"][1] / 2)


def test_equal_seeds_give_equal_discriminators() -> None:
    assert torch.equal(weights(AdversarialState(CONFIG, 8, seed=3)), weights(AdversarialState(CONFIG, 8, seed=3)))
    assert not torch.equal(weights(AdversarialState(CONFIG, 8, seed=3)), weights(AdversarialState(CONFIG, 8, seed=4)))

"""bfloat16 is what training multiplies in, not what it remembers; recomputing activations changes nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trained import metrics_of
from trainer.artifacts import ArtifactStore
from trainer.checkpoints import Checkpoints
from trainer.data.text import Encoded
from trainer.errors import InvalidInput
from trainer.loop import BatchSettings, CheckpointSettings, Learner, Schedule, optimise
from trainer.models.lora import LoRA, add_adapters
from trainer.models.policy import Policy, collate
from trainer.models.starting_point import PolicyOrigin, Scratch
from trainer.recipe import Run
from trainer.recipes import parse_recipe
from trainer.recipes.training import recompute_activations
from trainer.reporting import Reporter
from trainer.schedule import OptimizerSettings

ROWS = [Encoded([1, *range(5 + i, 25 + 3 * (i % 4)), 2], 8, None, 0) for i in range(8)]


class Imitation(Learner[Encoded]):
    """Mean negative log-likelihood; notes what the first projection computes in."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.trained: nn.Module = policy.network.train()
        self.seen: set[torch.dtype] = set()
        projection = policy.model.get_submodule("model.layers.0.self_attn.q_proj")
        projection.register_forward_hook(lambda module, inputs, output: self.seen.add(output.dtype))

    def weight(self, row: Encoded) -> float:
        return row.tokens - row.response_start

    def backward(self, rows: Sequence[Encoded], share: float, *, last: bool) -> dict[str, Tensor]:
        batch = collate(rows, self.policy.pad_id)
        logps: Tensor = self.trained(batch)[1]
        loss = -logps.sum() / batch.response_mask.sum()
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}


def fresh(directory: Path) -> Policy:
    shape = Scratch(hidden_size=32, layers=2, heads=2)
    return PolicyOrigin(scratch=shape).open(ArtifactStore(directory / "artifacts"), seed=0)[0]


def train(learner: Imitation, directory: Path, rate: float, dtype: torch.dtype, steps: int = 4) -> list[float]:
    """The losses."""
    with Reporter(directory, quiet=True) as reporter:
        optimise(
            learner,
            ROWS,
            [row.tokens for row in ROWS],
            optimizer=OptimizerSettings(learning_rate=rate, schedule="constant", warmup_fraction=0.0),
            batch=BatchSettings(size=4, micro=2),
            duration=Schedule(max_steps=steps),
            checkpoint=CheckpointSettings(),
            seed=0,
            run=Run("run", directory, ArtifactStore(directory / "artifacts"), reporter),
            compute_dtype=dtype,
        )
    return [values["loss"] for values in metrics_of(directory)]


def floating(state: Any) -> set[torch.dtype]:
    """Types of all floating numbers in a nested state."""
    if isinstance(state, Tensor):
        return {state.dtype} if state.is_floating_point() else set()
    inside = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else []
    return {dtype for each in inside for dtype in floating(each)}


def test_weights_and_moments_stay_float32_under_bfloat16(tmp_path: Path) -> None:
    low, high = Imitation(fresh(tmp_path)), Imitation(fresh(tmp_path))
    lower = train(low, tmp_path / "low", 1e-3, torch.bfloat16)
    higher = train(high, tmp_path / "high", 1e-3, torch.float32)
    assert low.seen == {torch.bfloat16}
    assert high.seen == {torch.float32}
    state = Checkpoints(tmp_path / "low").latest()
    assert state is not None
    assert floating(state["trained"]) == floating(state["optimizer"]["state"]) == {torch.float32}
    assert {parameter.dtype for parameter in low.trained.parameters()} == {torch.float32}
    # eight bits of mantissa: a relative error of at most 2^-9 in each product
    assert lower == pytest.approx(higher, rel=5e-3)
    assert lower != higher
    assert lower[-1] < lower[0] - 0.05


def test_updates_of_the_papers_rate_are_not_rounded_away(tmp_path: Path) -> None:
    learner = Imitation(fresh(tmp_path))
    before = {name: parameter.detach().clone() for name, parameter in learner.trained.named_parameters()}
    train(learner, tmp_path, 5e-7, torch.bfloat16, steps=3)
    moved = torch.cat([(p.detach() - before[n]).abs().flatten() for n, p in learner.trained.named_parameters()])
    used = moved[moved > 0]
    assert len(used) > 0.9 * sum(p.numel() for n, p in learner.trained.named_parameters() if "embed" not in n)
    # AdamW's first steps are of the rate's own size
    assert used.median().item() == pytest.approx(3 * 5e-7, rel=0.4)
    nothing = torch.cat([before[name].flatten() for name in before]).to(torch.bfloat16)
    assert ((nothing + 3 * 5e-7) != nothing).float().mean() < 0.05  # what bfloat16 weights would have kept


def test_after_training_the_network_computes_in_float32_again(tmp_path: Path) -> None:
    learner = Imitation(fresh(tmp_path))
    wrapped = learner.trained
    train(learner, tmp_path, 1e-3, torch.bfloat16)
    assert learner.trained is wrapped
    learner.seen.clear()
    with torch.no_grad():
        learner.trained(collate(ROWS, learner.policy.pad_id))
    assert learner.seen == {torch.float32}


def test_precision_is_one_trainings_and_not_the_processes(tmp_path: Path) -> None:
    for number, dtype in enumerate([torch.bfloat16, torch.float32, torch.bfloat16]):
        learner = Imitation(fresh(tmp_path))
        train(learner, tmp_path / str(number), 1e-3, dtype, steps=1)
        assert learner.seen == {dtype}


@pytest.mark.parametrize("lora", [False, True])
def test_recomputed_activations_give_the_same_gradients(lora: bool, tmp_path: Path) -> None:
    gradients = []
    for recompute in (False, True):
        policy = fresh(tmp_path)
        if lora:
            add_adapters(policy.model, LoRA(rank=4, dropout=0.2), seed=0)
        learner = Imitation(policy)
        calls = count_calls(policy)
        if recompute:
            recompute_activations(learner.trained)
        torch.manual_seed(0)
        learner.backward(ROWS, 1.0, last=True)
        assert calls == [2 if recompute else 1]
        gradients.append({n: p.grad for n, p in learner.trained.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) >= 8
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=0, msg=name)


def count_calls(policy: Policy) -> list[int]:
    """How often the first layer's first projection has been computed, in the one element of a list."""
    calls = [0]

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        calls[0] += 1

    policy.model.get_submodule("model.layers.0.self_attn.q_proj").register_forward_hook(count)
    return calls


def test_a_reward_model_recomputes_too(tmp_path: Path) -> None:
    from trainer.run import run_recipe

    results = []
    for recompute in (False, True):
        recipe = parse_recipe(
            {
                "kind": "reward_model",
                "name": f"encoder-{recompute}",
                "backbone": {"scratch": {"hidden_size": 32, "layers": 2, "heads": 2}},
                "data": {"kind": "product_world", "size": 16, "validation_size": 8},
                "batch": {"size": 8},
                "max_steps": 3,
                "optimizer": {"learning_rate": 1e-3},
                "gradient_checkpointing": recompute,
            }
        )
        run_recipe(recipe, tmp_path / recipe.name, ArtifactStore(tmp_path / "artifacts"), quiet=True)
        results.append([values["loss"] for values in metrics_of(tmp_path / recipe.name)])
    assert len(results[0]) == 3
    assert results[1] == pytest.approx(results[0], abs=1e-6)


def test_what_cannot_recompute_says_so(tmp_path: Path) -> None:
    policy = fresh(tmp_path)
    policy.model.supports_gradient_checkpointing = False
    with pytest.raises(InvalidInput, match="LlamaForCausalLM cannot recompute activations") as caught:
        recompute_activations(policy.network)
    assert caught.value.pointer == "/gradient_checkpointing"
    with pytest.raises(InvalidInput, match="Linear cannot recompute activations"):
        recompute_activations(nn.Linear(1, 1))

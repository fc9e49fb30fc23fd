"""Twenty steps of our DPO recipe and of TRL 1.16.0's DPOTrainer are the same twenty steps.

The same weights, rows in the same order, AdamW, clipping and schedule, float32. Measured: losses differ by at most
1e-6, and final weights, which moved by up to 0.02, by 4e-6.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trained import metrics_of, weights
from trainer.artifacts import ArtifactStore
from trainer.batches import BatchPlan
from trainer.data.sources import ProductWorldData
from trainer.models.policy import Policy
from trainer.recipe import Run
from trainer.recipes import parse_recipe
from trainer.recipes.encoding import encode_preferences
from trainer.run import run_recipe

pytest.importorskip("trl", reason="the peer these tests compare with is not installed")
pytestmark = [
    # touched by TRL; transformers renames it in its version 6
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
STEPS, BATCH, SEED = 20, 4, 7
OPTIMIZER = {"learning_rate": 1e-3, "weight_decay": 0.0, "max_grad_norm": 0.5}


@pytest.mark.parametrize(("schedule", "warmup", "micro"), [("constant", 0, None), ("cosine", 2, 2)])
def test_twenty_steps(
    schedule: str,
    warmup: int,
    micro: int | None,
    policy: Policy,
    data: ProductWorldData,
    settings: dict[str, Any],
    tell: Callable[..., Any],
    run: Run,
    tmp_path: Path,
) -> None:
    data = data.model_copy(update={"size": 32})  # two epochs and a half
    theirs, their_losses = train_with_trl(policy, data, schedule, warmup, micro, settings, tell, run)
    ours, our_losses = train_here(policy, data, schedule, warmup, micro, tmp_path)

    assert len(our_losses) == len(their_losses) == STEPS
    assert our_losses[0] - our_losses[-1] > 0.1  # something was learned
    torch.testing.assert_close(torch.tensor(our_losses), torch.tensor(their_losses), atol=1e-4, rtol=0)
    start = policy.model.state_dict()
    assert largest_difference(start, theirs) > 5e-3
    assert largest_difference(ours, theirs) < 1e-4


def largest_difference(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    """Over all weights; of tied ones a file holds one."""
    shared = some.keys() & others.keys()
    assert len(shared) > 10
    return max(float((some[name] - others[name]).abs().max()) for name in shared)


def train_here(
    policy: Policy, data: ProductWorldData, schedule: str, warmup: int, micro: int | None, directory: Path
) -> tuple[dict[str, torch.Tensor], list[float]]:
    policy.save(directory / "start")
    recipe = parse_recipe(
        {
            "kind": "preference",
            "name": "ours",
            "seed": SEED,
            "policy": {"path": str(directory / "start")},
            "data": data.model_dump(),
            "optimizer": {**OPTIMIZER, "schedule": schedule, "warmup_fraction": warmup / STEPS},
            "batch": {"size": BATCH, "micro": micro},
            "max_steps": STEPS,
        }
    )
    store = ArtifactStore(directory / "artifacts")
    result = run_recipe(recipe, directory / "ours", store, quiet=True)
    return weights(store, result["artifacts"]["policy"]), [values["loss"] for values in metrics_of(directory / "ours")]


def train_with_trl(
    policy: Policy,
    data: ProductWorldData,
    schedule: str,
    warmup: int,
    micro: int | None,
    settings: dict[str, Any],
    tell: Callable[..., Any],
    run: Run,
) -> tuple[dict[str, torch.Tensor], list[float]]:
    from trl import DPOConfig, DPOTrainer

    rows = data.preferences()
    plan = BatchPlan([row.tokens for row in encode_preferences(policy, rows, data, run)], BATCH, SEED)
    assert plan.steps_per_epoch == 8
    losses: list[float] = []

    class Recording(DPOTrainer):  # type: ignore[misc]
        """Keeps the losses as they are: the log rounds them."""

        def training_step(self, *arguments: Any, **named: Any) -> Any:
            loss = super().training_step(*arguments, **named)
            losses.append(float(loss))
            return loss

    trainer = Recording(
        copy.deepcopy(policy.model),
        copy.deepcopy(policy.model),
        DPOConfig(
            **settings,
            per_device_train_batch_size=micro or BATCH,
            gradient_accumulation_steps=BATCH // (micro or BATCH),
            train_sampling_strategy="sequential",
            max_steps=STEPS,
            save_strategy="no",
            optim="adamw_torch",
            lr_scheduler_type=schedule,
            warmup_steps=warmup,
            learning_rate=OPTIMIZER["learning_rate"],
            weight_decay=OPTIMIZER["weight_decay"],
            max_grad_norm=OPTIMIZER["max_grad_norm"],
        ),
        train_dataset=tell([rows[index] for step in range(STEPS) for index in plan[step]]),
        processing_class=policy.tokenizer,
    )
    trainer.train()
    each = BATCH // (micro or BATCH)
    return trainer.model.state_dict(), [sum(losses[i : i + each]) for i in range(0, len(losses), each)]

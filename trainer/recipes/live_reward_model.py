"""A reward model that goes on learning while a policy is trained against it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from trainer.loop import BatchSettings
from trainer.models.reward_model import RewardModel
from trainer.processes import clip_gradients
from trainer.recipe import Model
from trainer.recipes.adversarial_batches import Labelled
from trainer.resuming import put_weights, trained_weights
from trainer.schedule import OptimizerSettings, check_finite, learning_rate, make_adam, take_step


class LiveSettings(Model):
    """How the reward model learns in the adversarial rounds."""

    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-5, schedule="constant", warmup_fraction=0.0)
    batch: BatchSettings = BatchSettings(size=8)
    accepted_share: float = Field(0.5, ge=0, le=1)
    """Of a batch; what it and the generated leave is rejected."""


class LiveRewardModel:
    """The model and its optimiser."""

    def __init__(self, model: RewardModel, settings: LiveSettings, steps: int) -> None:
        """``steps``: in the whole run, for the schedule."""
        self.model = model
        self._settings = settings
        self._steps = steps
        self._adam = make_adam(model.network, settings.optimizer)
        model.network.eval()

    def step(self, rows: Sequence[Labelled], number: int) -> dict[str, float]:
        """Pointwise binary cross-entropy of the scores with the labels (GAPO, arXiv 2503.20194), step ``number``.

        Raises RunFailed for a loss or gradient that is not finite, before it reaches the weights.
        """
        self.model.network.train()
        ordered = sorted(rows, key=lambda row: row.encoded.tokens)
        micro = self._settings.batch.micro or len(ordered)
        losses: list[float] = []
        scores: list[float] = []
        for start in range(0, len(ordered), micro):
            some = ordered[start : start + micro]
            found: Tensor = self.model.network(self.model.collate([row.encoded for row in some]))
            labels = found.new_tensor([row.label for row in some])
            loss = binary_cross_entropy_with_logits(found, labels, reduction="sum") / len(ordered)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
            scores += found.detach().tolist()
        settings = self._settings.optimizer
        norm = float(clip_gradients(self.model.network, settings.max_grad_norm))
        check_finite(
            {"reward model's loss": sum(losses), "reward model's gradient's norm": norm},
            f"its step {number + 1}",
            "reward_model.optimizer.learning_rate (the last checkpoint is intact)",
        )
        take_step(self._adam, learning_rate(number, self._steps, settings))
        self.model.network.eval()
        return {"reward_model/loss": sum(losses), "reward_model/grad_norm": norm, **_describe(ordered, scores)}

    def state(self) -> dict[str, Any]:
        return {"weights": trained_weights(self.model.network), "adam": self._adam.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        put_weights(self.model.network, state["weights"])
        self._adam.load_state_dict(state["adam"])


def _describe(rows: Sequence[Labelled], scores: Sequence[float]) -> dict[str, float]:
    """Rows, mean probability and accuracy of each origin; generations count as right below one half."""
    probabilities = torch.sigmoid(torch.tensor(scores)).tolist()
    of: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for row, probability in zip(rows, probabilities, strict=True):
        of[row.origin].append((probability, (probability > 0.5) == (row.label > 0.5)))
    metrics: dict[str, float] = {}
    for origin, found in of.items():
        metrics[f"reward_model/{origin}/rows"] = float(len(found))
        metrics[f"reward_model/{origin}/probability"] = sum(each for each, _ in found) / len(found)
        metrics[f"reward_model/{origin}/accuracy"] = sum(right for _, right in found) / len(found)
    return metrics

"""How a preference objective, and GANPO's regulariser where there is one, move a policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.adversarial.regulariser import Regulariser
from trainer.data.text import Encoded
from trainer.loop import Learner
from trainer.models.latents import select_latents
from trainer.models.policy import PairBatch, Policy, collate
from trainer.objectives import PreferenceObjective
from trainer.objectives.contract import PreferenceLogps
from trainer.recipes.encoding import EncodedPreference


@dataclass
class PreferenceLearner(Learner[EncodedPreference]):
    """One policy forward on [chosen; rejected], one reference forward, one loss."""

    policy: Policy
    reference: Policy
    objective: PreferenceObjective
    adversarial: Regulariser | None

    def __post_init__(self) -> None:
        self.trained = self.policy.network.train()

    def backward(self, rows: Sequence[EncodedPreference], share: float, *, last: bool) -> dict[str, float]:
        batch = self._collate(rows)
        hidden, logps = self.trained(batch)
        with torch.no_grad():
            reference_hidden = self._reference_hidden(batch)
        outcome = self.objective(self._logps(batch, logps, reference_hidden))
        loss = outcome.losses.mean()
        metrics = {"loss": float(loss.detach()), **_reward_metrics(outcome.chosen_rewards, outcome.rejected_rewards)}
        if self.adversarial is not None:
            assert reference_hidden is not None
            reference = select_latents(reference_hidden, batch, self.adversarial.config.mask)
            played = self.adversarial.backward(loss, hidden, reference, batch, share, chosen=len(rows), last=last)
            return metrics | {name: float(value) for name, value in played.items()}
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return metrics

    @torch.inference_mode()
    def evaluate(self, rows: Sequence[EncodedPreference], size: int = 64) -> dict[str, float]:
        """Loss, rewards and accuracy on held-out preferences."""
        losses, chosen, rejected = [], [], []
        for start in range(0, len(rows), size):
            batch = self._collate(rows[start : start + size])
            outcome = self.objective(self._logps(batch, self.policy.logps(batch), self._reference_hidden(batch)))
            losses.append(outcome.losses)
            chosen.append(outcome.chosen_rewards)
            rejected.append(outcome.rejected_rewards)
        metrics = _reward_metrics(torch.cat(chosen), torch.cat(rejected))
        return {
            f"held_out/{name}": value for name, value in {"loss": float(torch.cat(losses).mean()), **metrics}.items()
        }

    def state(self) -> dict[str, Any]:
        return {} if self.adversarial is None else self.adversarial.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        if self.adversarial is not None:
            self.adversarial.restore(state)

    def _collate(self, rows: Sequence[EncodedPreference]) -> PairBatch:
        sides: list[Encoded] = [*(row.pair[0] for row in rows), *(row.pair[1] for row in rows)]
        return collate(sides, self.policy.pad_id).to(self.policy.device)

    def _reference_hidden(self, batch: PairBatch) -> Tensor | None:
        if self.adversarial is None and not self.objective.needs_reference_logps:
            return None
        return self.reference.hidden_states(batch)

    def _logps(self, batch: PairBatch, logps: Tensor, reference_hidden: Tensor | None) -> PreferenceLogps:
        summed = logps.sum(dim=1)
        reference = torch.zeros_like(summed)
        if reference_hidden is not None and self.objective.needs_reference_logps:
            with torch.no_grad():
                reference = self.reference.logps(batch, reference_hidden).sum(dim=1)
        tokens = batch.response_mask.sum(dim=1)
        half = len(summed) // 2
        return PreferenceLogps(
            summed[:half], summed[half:], reference[:half], reference[half:], tokens[:half], tokens[half:]
        )


def _reward_metrics(chosen: Tensor, rejected: Tensor) -> dict[str, float]:
    """Named as TRL names them, so that curves compare."""
    return {
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margins": float((chosen - rejected).mean()),
        "rewards/accuracies": float((chosen > rejected).float().mean()),
    }

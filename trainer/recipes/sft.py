"""Supervised fine-tuning: imitate the responses."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from trainer.data.text import Encoded
from trainer.loop import Learner
from trainer.models.loading import make_probes
from trainer.models.policy import Policy, collate
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.starting_point import TrainedPolicy
from trainer.models.validation import HeldOut, validate
from trainer.recipe import Run
from trainer.recipes.encoding import encode_pairs, training_device
from trainer.recipes.publishing import summary
from trainer.recipes.reading import read_pairs
from trainer.recipes.training import TrainingRecipe


class SFT(TrainingRecipe):
    """Maximise the log-likelihood of responses given their prompts; publishes the policy."""

    kind: Literal["sft"]
    policy: TrainedPolicy

    def run(self, run: Run) -> dict[str, Any]:
        rows, held_out = read_pairs(self.data, run)
        policy, parent = self.policy.settled(run).open(run.artifacts, self.seed)
        policy.model.to(training_device())
        encoded = encode_pairs(policy, rows, self.data, run)
        measured = encode_pairs(policy, held_out, self.data, run, "held_out") if held_out else []
        steps = self.train(_Learner(policy), encoded, [row.tokens for row in encoded], run)
        policy.model.eval()
        metrics = {"held_out/nll_per_token": _nll(policy, measured)} if measured else {}
        scorer = PolicyScorer(policy)
        artifact = self.publish(
            run,
            self.name,
            "policy",
            policy.save,
            rows=rows,
            metrics=metrics,
            details=policy.details(),
            probes=make_probes(scorer, held_out or rows),
            parents=[parent.as_parent("initial")] if parent else [],
            validation=validate(scorer, [HeldOut(pair, pair.prompt) for pair in held_out], self.seed),
        )
        return summary({"policy": artifact}, metrics, steps)


class _Learner(Learner[Encoded]):
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.trained = policy.network.train()

    def weight(self, row: Encoded) -> float:
        return row.tokens - row.response_start

    def backward(self, rows: Sequence[Encoded], share: float, *, last: bool) -> dict[str, Tensor]:
        batch = collate(rows, self.policy.pad_id).to(self.policy.device)
        logps: Tensor = self.trained(batch)[1]
        loss = -logps.sum() / batch.response_mask.sum()
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}


@torch.inference_mode()
def _nll(policy: Policy, rows: Sequence[Encoded], size: int = 64) -> float:
    """Mean negative log-likelihood per response token."""
    total, tokens = 0.0, 0
    for start in range(0, len(rows), size):
        batch = collate(rows[start : start + size], policy.pad_id).to(policy.device)
        total -= float(policy.logps(batch).sum())
        tokens += int(batch.response_mask.sum())
    return total / tokens

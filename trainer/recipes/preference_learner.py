"""How a preference objective, and GANPO's regulariser where there is one, move a policy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainer.adversarial.ranks import sum_over_ranks
from trainer.adversarial.regulariser import Regulariser
from trainer.data.text import Encoded
from trainer.loop import Learner
from trainer.models.latents import MaskChoice
from trainer.models.policy import PairBatch, Policy, collate
from trainer.models.reference import AdaptersOff, Reference, ReferenceView
from trainer.objectives import PreferenceObjective
from trainer.objectives.contract import PreferenceLogps, PreferenceLoss
from trainer.recipes.encoding import EncodedPreference


@dataclass(frozen=True)
class _Step:
    """What a loss over single responses must know of the whole optimiser step, over all processes."""

    chosen: float
    rejected: float
    """How many responses there are."""
    mismatched_log_ratio: Tensor
    """The mean, ()."""

    @classmethod
    def of(cls, sums: Tensor) -> "_Step":
        """From what ``PreferenceLearner._look_ahead`` has summed."""
        return cls(float(sums[2]), float(sums[3]), sums[0] / sums[1])


@dataclass
class PreferenceLearner(Learner[EncodedPreference]):
    """One policy forward on [chosen; rejected], one look at the reference where anything needs it, one loss."""

    policy: Policy
    reference: Reference | None
    """None where neither the objective nor a regulariser compares with it."""
    objective: PreferenceObjective
    adversarial: Regulariser | None
    share_prompts: bool = False
    """Whether policy and reference read a pair's prompt once; ``check_sharing`` says whether they can."""

    def __post_init__(self) -> None:
        self._step: _Step | None = None
        self.trained = self.policy.network.train()
        if self.reference is not None:
            self.compare_with(self.reference)

    def compare_with(self, reference: Reference) -> None:
        """Let ``reference`` be what the objective and the regulariser ask."""
        self.reference = reference
        if isinstance(reference, AdaptersOff):
            reference.trained = lambda: self.trained  # as the loop has wrapped it by then

    def weight(self, row: EncodedPreference) -> float:
        return len(row.sides)

    def begin(self, micro_batches: Sequence[tuple[Sequence[EncodedPreference], float]]) -> None:
        if not self.objective.pairwise:
            sums = self._look_ahead(micro_batches)
            sum_over_ranks([sums])
            self._step = _Step.of(sums)

    def backward(self, rows: Sequence[EncodedPreference], share: float, *, last: bool) -> dict[str, float | Tensor]:
        sides, chosen = _sides(rows)
        batch = self._collate(sides, share=self.share_prompts)
        hidden, token_logps = self.trained(self._predicted(sides, chosen, batch))
        reference = self._refer(sides, batch, None if self.adversarial is None else self.adversarial.config.mask)
        outcome, logps = self._outcome(batch, token_logps, reference, chosen)
        loss = outcome.losses.mean()
        metrics: dict[str, float | Tensor] = {**self._metrics(outcome, logps, share)}
        if self.adversarial is None:
            (share * loss).backward()  # type: ignore[no-untyped-call]
            return metrics
        assert reference.latents is not None
        regularised = self.adversarial.backward(loss, hidden, reference.latents, batch, share, chosen=chosen, last=last)
        return {**metrics, **regularised}

    @torch.inference_mode()
    def evaluate(self, rows: Sequence[EncodedPreference], size: int = 64) -> dict[str, float]:
        """Loss, rewards, log-probabilities and, of pairs, accuracy on held-out rows."""
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        if not self.objective.pairwise:
            self._step = _Step.of(self._look_ahead([(part, 1.0) for part in parts]))
        outcomes = []
        for part in parts:
            sides, chosen = _sides(part)
            batch = self._collate(sides)
            token_logps = self.policy.logps(self._predicted(sides, chosen, batch))
            outcomes.append(self._outcome(batch, token_logps, self._refer(sides, batch), chosen))
        losses = [outcome for outcome, _ in outcomes]
        whole = PreferenceLoss(
            torch.cat([each.losses for each in losses]),
            torch.cat([each.chosen_rewards for each in losses]),
            torch.cat([each.rejected_rewards for each in losses]),
            {name: torch.cat([each.metrics[name].reshape(-1) for each in losses]) for name in losses[0].metrics},
        )
        logps = torch.cat([logps[0] for _, logps in outcomes]), torch.cat([logps[1] for _, logps in outcomes])
        return {f"held_out/{name}": float(value) for name, value in self._metrics(whole, logps, 1.0).items()}

    def state(self) -> dict[str, Any]:
        return {} if self.adversarial is None else self.adversarial.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        if self.adversarial is not None:
            self.adversarial.restore(state)

    def _collate(self, rows: Sequence[Encoded], *, share: bool = False) -> PairBatch:
        return collate(rows, self.policy.pad_id, share=share and len(rows) % 2 == 0).to(self.policy.device)

    def _predicted(self, sides: Sequence[Encoded], chosen: int, batch: PairBatch) -> PairBatch:
        """``batch`` asking for all log-probabilities that the objective reads: of chosen prompts too, for some."""
        if not self.objective.reads_prompts:
            return batch
        prompts = [replace(side, response_start=1) for side in sides[:chosen]]
        return self._collate([*prompts, *sides[chosen:]], share=batch.shared is not None)

    def _refer(self, sides: Sequence[Encoded], batch: PairBatch, latents: MaskChoice | None = None) -> ReferenceView:
        logps = self.objective.needs_reference_logps
        if self.reference is None or not (logps or latents):
            return ReferenceView(None, None)
        return self.reference(sides, batch, logps=logps, latents=latents)

    def _outcome(
        self, batch: PairBatch, token_logps: Tensor, reference: ReferenceView, chosen: int
    ) -> tuple[PreferenceLoss, tuple[Tensor, Tensor]]:
        """The objective on a batch, and each side's log-probabilities as the objective reads them, detached."""
        text_logps = text_tokens = None
        if self.objective.reads_prompts:
            text_logps = token_logps[:chosen].sum(dim=1)
            text_tokens = batch.attention_mask[:chosen].sum(dim=1) - 1
            token_logps = token_logps * batch.response_mask
        logps, tokens = token_logps.sum(dim=1), batch.response_mask.sum(dim=1)
        compared = torch.zeros_like(logps) if reference.logps is None else reference.logps
        outcome = self.objective(
            PreferenceLogps(
                chosen=logps[:chosen],
                rejected=logps[chosen:],
                reference_chosen=compared[:chosen],
                reference_rejected=compared[chosen:],
                chosen_tokens=tokens[:chosen],
                rejected_tokens=tokens[chosen:],
                mismatched_log_ratio=None if self._step is None else self._step.mismatched_log_ratio,
                chosen_text=text_logps,
                chosen_text_tokens=text_tokens,
            )
        )
        shown = (logps / tokens if self.objective.per_token else logps).detach()
        return outcome, (shown[:chosen], shown[chosen:])

    @torch.no_grad()
    def _look_ahead(self, micro_batches: Sequence[tuple[Sequence[EncodedPreference], float]]) -> Tensor:
        """Sum of log pi - log pi_ref on mismatched responses; numbers of those, of chosen, of rejected ones. (4,)."""
        sums = torch.zeros(4, device=self.policy.device)
        for rows, share in micro_batches:
            texts = [row.mismatched for row in rows if row.mismatched is not None]
            batch = self._collate(texts)
            reference = self._refer(texts, batch).logps
            log_ratio = (
                self.trained(batch)[1].sum(dim=1) - reference
            ).sum()  # where nothing counts, others wait for it
            if share:
                responses, chosen = _sides(rows)
                sums += torch.stack([log_ratio, *sums.new_tensor([len(texts), chosen, len(responses) - chosen])])
        return sums

    def _metrics(self, outcome: PreferenceLoss, logps: tuple[Tensor, Tensor], share: float) -> dict[str, Tensor]:
        """Named as TRL names them, so that curves compare; weighed by their ``share`` they add up to a step's.

        Where responses are unpaired a micro-batch may have more of one side than its share: its sum counts then.
        """
        counts: list[float] = [len(side) for side in logps]
        if self._step is not None:
            counts = [share * self._step.chosen, share * self._step.rejected]
        values = {"loss": outcome.losses.detach().mean()}
        for side, count, rewards, side_logps in zip(
            ("chosen", "rejected"), counts, (outcome.chosen_rewards, outcome.rejected_rewards), logps, strict=True
        ):
            if count:
                values[f"rewards/{side}"] = rewards.sum() / count
                values[f"logps/{side}"] = side_logps.sum() / count
        if all(counts):
            values["rewards/margins"] = values["rewards/chosen"] - values["rewards/rejected"]
        if self.objective.pairwise:
            values["rewards/accuracies"] = (outcome.chosen_rewards > outcome.rejected_rewards).float().mean()
        return values | {name: value.mean() for name, value in outcome.metrics.items()}


def _sides(rows: Sequence[EncodedPreference]) -> tuple[list[Encoded], int]:
    """All responses of ``rows``, chosen ones first, and how many those are."""
    chosen = [row.chosen for row in rows if row.chosen is not None]
    return [*chosen, *(row.rejected for row in rows if row.rejected is not None)], len(chosen)

"""Everything the adversarial game must remember: two discriminators, their optimiser, six moving means."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from trainer.adversarial.relativistic_average import AdversarialLoss, discriminator_loss, policy_loss
from trainer.models.discriminators import DiscriminatorConfig, TransformerDiscriminator
from trainer.models.latents import Latents
from trainer.recipe import Model

CHOSEN_SETS = ("reference_chosen", "policy_chosen", "reference_rejected")
"""What C_chosen sees, in the order anchor, policy, opposite of eq. 19."""
REJECTED_SETS = ("reference_rejected", "policy_rejected", "reference_chosen")
"""What C_rejected sees, in the order of eq. 20."""


class Adversarial(Model):
    """The regulariser of GANPO."""

    weight: float = Field(1.0, ge=0)
    """lambda of eq. 7."""
    discriminator: DiscriminatorConfig = TransformerDiscriminator()
    loss: AdversarialLoss = "non_saturating"
    quad: bool = True
    """Whether discriminators also separate the policy from the opposite reference (second terms of eqs. 19, 20)."""
    decay: float = Field(0.9, ge=0, lt=1)
    """Of the moving means of logits."""
    learning_rate: float = Field(1e-4, gt=0)
    """Of the discriminators. The paper's 2.5e-7 separates almost nothing within an epoch."""
    max_grad_norm: float = Field(1.0, gt=0)
    loss_scale: Literal["paper", "code"] = "paper"
    """Sums of terms as in the equations, or their means (1/4 and 1/2) as in the authors' code."""


class LatentSets:
    """The four sets of a batch: reference and policy on chosen and rejected."""

    def __init__(self, policy: Latents, reference: Latents) -> None:
        half = policy.hidden_states.shape[0] // 2
        first, second = slice(0, half), slice(half, None)
        self.sets = {
            "policy_chosen": policy.rows(first),
            "policy_rejected": policy.rows(second),
            "reference_chosen": reference.rows(first),
            "reference_rejected": reference.rows(second),
        }

    def __getitem__(self, name: str) -> Latents:
        return self.sets[name]


class AdversarialState(nn.Module):
    """The two discriminators with their moving means. One ``observe`` per micro-batch, one ``step`` per optimiser step.

    At the last micro-batch of a step the discriminators move first and the policy plays against the moved ones, which
    at one micro-batch per step is Algorithm 1 exactly; earlier micro-batches play against those of the step before.
    """

    means: Tensor
    started: Tensor

    def __init__(self, config: Adversarial, hidden_size: int, seed: int) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.chosen = config.discriminator.build(hidden_size)
            self.rejected = config.discriminator.build(hidden_size)
        self.register_buffer("means", torch.zeros(2, 3))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=config.learning_rate, weight_decay=0.0)
        self._seen: list[tuple[Tensor, float]] = []

    def observe(self, latents: LatentSets, share: float, *, last: bool) -> dict[str, float]:
        """Accumulate the discriminators' gradients on detached latents; at the last micro-batch also step.

        ``share`` is this micro-batch's part of the whole batch. Returns metrics.
        """
        self.train()
        self.requires_grad_(True)
        logits = [
            [net(latents[name].hidden_states.detach(), latents[name].mask) for name in names]
            for net, names in self._players()
        ]
        batch_means = torch.stack([torch.stack([part.detach().mean() for part in parts]) for parts in logits])
        self._seen.append((batch_means, share))
        if last or not self.started:
            self._update_means(last)
        scale = 0.25 if self.config.loss_scale == "code" else 1.0
        metrics: dict[str, float] = {}
        total = torch.zeros((), device=self.means.device)
        for side, (anchor, policy, opposite), means in zip(("chosen", "rejected"), logits, self.means, strict=True):
            loss = discriminator_loss(anchor, policy, opposite, (means[0], means[1], means[2]), quad=self.config.quad)
            total = total + scale * loss
            metrics[f"discriminator/{side}/loss"] = float(loss.detach())
            metrics[f"discriminator/{side}/auc_reference_policy"] = _auc(anchor, policy)
            metrics[f"discriminator/{side}/auc_chosen_rejected"] = _auc(anchor, opposite)
        (share * total).backward()  # type: ignore[no-untyped-call]
        if last:
            nn.utils.clip_grad_norm_(self.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self._seen.clear()
        return metrics

    def loss(self, latents: LatentSets) -> Tensor:
        """L_adv on live latents; gradients reach the policy and stop at the frozen discriminators."""
        self.eval()
        self.requires_grad_(False)
        scale = 0.5 if self.config.loss_scale == "code" else 1.0
        terms = [
            policy_loss(net(latents[names[1]].hidden_states, latents[names[1]].mask), means[0], self.config.loss)
            for (net, names), means in zip(self._players(), self.means, strict=True)
        ]
        return scale * (terms[0] + terms[1])

    def _players(self) -> list[tuple[nn.Module, tuple[str, str, str]]]:
        return [(self.chosen, CHOSEN_SETS), (self.rejected, REJECTED_SETS)]

    @torch.no_grad()
    def _update_means(self, whole: bool) -> None:
        """Move every mean once per optimiser step, by the batch's own.

        The first batch sets them; until it is ``whole``, its micro-batches seen so far stand for it.
        """
        weight = sum(share for _, share in self._seen)
        batch = sum((means * (share / weight) for means, share in self._seen), torch.zeros_like(self.means))
        if self.started:
            batch = self.config.decay * self.means + (1 - self.config.decay) * batch
        self.means.copy_(batch)
        self.started.fill_(whole)


def _auc(higher: Tensor, lower: Tensor) -> float:
    """Probability that a logit of ``higher`` exceeds one of ``lower``, ties counting half."""
    difference = higher.detach()[:, None] - lower.detach()[None, :]
    return float((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean())

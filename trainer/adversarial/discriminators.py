"""GANPO's two discriminators with the moving means of their logits, and what they learn from a batch."""

import torch
from torch import Tensor, nn

from trainer.adversarial.latent_sets import LatentSets, SetName
from trainer.adversarial.ranks import sum_over_ranks
from trainer.adversarial.relativistic_average import AdversarialLoss, discriminator_loss, policy_loss
from trainer.adversarial.settings import Game
from trainer.models.discriminators import Discriminator, DiscriminatorConfig

SETS: dict[str, tuple[SetName, SetName, SetName]] = {
    "chosen": ("reference_chosen", "policy_chosen", "reference_rejected"),
    "rejected": ("reference_rejected", "policy_rejected", "reference_chosen"),
}
"""What each discriminator sees, in the order anchor, policy, opposite of eqs. 19 and 20."""


class Discriminators(nn.Module):
    """C_chosen and C_rejected. Called once per micro-batch, on every process alike.

    Spectral norms iterate once per step, before its first micro-batch, and means move once, at its last.
    """

    means: Tensor
    """Of each discriminator (2) on each of its sets (3), as of the last step."""
    started: Tensor
    """Which of them have seen a row."""

    def __init__(self, config: DiscriminatorConfig, game: Game, hidden_size: int, seed: int) -> None:
        super().__init__()
        self.game = game
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.chosen = config.build(hidden_size)
            self.rejected = config.build(hidden_size)
        self.register_buffer("means", torch.zeros(2, 3))
        self.register_buffer("started", torch.zeros(2, 3, dtype=torch.bool))
        self._seen: Tensor | None = None

    @property
    def players(self) -> dict[str, Discriminator]:
        """Both networks by the side they anchor."""
        return {"chosen": self.chosen, "rejected": self.rejected}

    def forward(self, latents: LatentSets, share: float, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of eqs. 19 and 20 together, of a micro-batch that is ``share`` of its step, and metrics.

        Gradients stop at the latents. What has no share counts in no mean.

        The means are updated before they are used, from the whole step at its last micro-batch; the first step, which
        has none yet, uses those of its micro-batches so far. AUCs of an empty set are 0.5: nothing was told apart.
        """
        if self._seen is None:
            for network in self.players.values():
                network.iterate_norms()
        logits = [latents.logits(network, SETS[side], live=False) for side, network in self.players.items()]
        self._note(logits, last, counts=share > 0)
        scale = 0.25 if self.game.loss_scale == "code" else 1.0
        total = torch.zeros((), device=self.means.device)
        metrics: dict[str, Tensor] = {}
        for side, (anchor, policy, opposite), means in zip(SETS, logits, self.means, strict=True):
            loss = discriminator_loss(
                anchor, policy, opposite, (means[0], means[1], means[2]), quad=self.game.quad, E=latents.mean
            )
            total = total + scale * loss
            metrics[f"discriminator/{side}/loss"] = loss.detach()
            metrics[f"discriminator/{side}/auc_reference_policy"] = _auc(anchor, policy)
            metrics[f"discriminator/{side}/auc_chosen_rejected"] = _auc(anchor, opposite)
            if last:
                for name, mean in zip(SETS[side], means.clone(), strict=True):
                    metrics[f"discriminator/{side}/mean_{name}"] = mean
        return total, metrics

    def policy_loss(self, latents: LatentSets, kind: AdversarialLoss) -> Tensor:
        """L_adv (eq. 18 or its non-saturating form) on live latents, against the means as they stand."""
        scale = 0.5 if self.game.loss_scale == "code" else 1.0
        terms = []
        for (side, network), means in zip(self.players.items(), self.means, strict=True):
            (logits,) = latents.logits(network, SETS[side][1:2], live=True)
            terms.append(policy_loss(logits, means[0], kind, E=latents.mean))
        return scale * (terms[0] + terms[1])

    @torch.no_grad()
    def _note(self, logits: list[list[Tensor]], last: bool, *, counts: bool) -> None:
        """Add this micro-batch to the step's sums and counts of logits, and move the means where it is time."""
        sums = torch.stack([part.sum() for parts in logits for part in parts])
        sizes = sums.new_tensor([len(part) for parts in logits for part in parts])
        now = torch.stack([sums, sizes]).view(2, 2, 3) * float(counts)
        self._seen = now if self._seen is None else self._seen + now
        if last or not self.started.all():
            total = self._seen.clone()
            sum_over_ranks([total])
            batch = torch.where(total[1] > 0, total[0] / total[1].clamp(min=1), self.means)
            # before the last micro-batch a mean that has started stays as it is
            decay = self.started * (self.game.decay if last else 1.0)
            self.means.copy_(decay * self.means + (1 - decay) * batch)
            if last:
                self.started |= total[1] > 0
                self._seen = None


@torch.no_grad()
def _auc(higher: Tensor, lower: Tensor) -> Tensor:
    """Probability that a logit of ``higher`` exceeds one of ``lower``, ties counting half; 0.5 if either is empty."""
    if not len(higher) or not len(lower):
        return higher.new_tensor(0.5)
    return (torch.sign(higher[:, None] - lower[None, :]).mean() + 1) / 2

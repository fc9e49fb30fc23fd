"""How discriminators learn alone: from latents of frozen policies, which are computed once."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.adversarial.discriminators import Discriminators
from trainer.adversarial.latent_sets import LatentSets
from trainer.loop import Learner
from trainer.models.discriminators import Discriminator
from trainer.models.latents import Latents, MaskChoice
from trainer.models.policy import Policy, collate
from trainer.models.precomputed_reference import PrecomputedReference
from trainer.models.reference import FrozenPolicy
from trainer.objectives.bradley_terry import bradley_terry, preference_metrics
from trainer.recipe import Run
from trainer.recipes.encoding import EncodedPreference


class FrozenLatents:
    """Of one frozen policy on both sides of preferences, computed once."""

    def __init__(
        self, directory: Path, policy: Policy, rows: Sequence[EncodedPreference], mask: MaskChoice, run: Run
    ) -> None:
        sides = [side for row in rows for side in row.sides]
        self.stored = PrecomputedReference(directory, policy, [], sides, mask, torch.float32)
        self.stored.fill(FrozenPolicy(policy), run)
        self.pad_id, self.mask = policy.pad_id, mask

    def __call__(self, rows: Sequence[EncodedPreference]) -> Latents:
        """Latents (2 rows, length, hidden), chosen first."""
        sides = [*(row.pair[0] for row in rows), *(row.pair[1] for row in rows)]
        batch = collate(sides, self.pad_id).to(self.stored.device)
        latents = self.stored(sides, batch, logps=False, latents=self.mask).latents
        assert latents is not None
        return latents


class Player(Learner[EncodedPreference]):
    """Both discriminators by equations 19 and 20."""

    def __init__(self, players: Discriminators, policy: FrozenLatents, reference: FrozenLatents) -> None:
        self.trained = players.train()
        self.policy, self.reference = policy, reference

    def backward(self, rows: Sequence[EncodedPreference], share: float, *, last: bool) -> dict[str, float | Tensor]:
        latents = LatentSets(self.policy(rows), self.reference(rows))
        loss, metrics = self.trained(latents, share, last=last)
        (share * loss).backward()
        return {"loss": loss.detach(), **metrics}


class Probed(nn.Module):
    """A network whose spectral norms iterate once per step, in its forward: only there are sharded weights whole."""

    def __init__(self, network: Discriminator) -> None:
        super().__init__()
        self.network = network
        self._begins = True

    def forward(self, latents: Latents, *, last: bool) -> Tensor:
        """Logits (rows,); ``last`` says whether the step ends with this micro-batch."""
        if self._begins:
            self.network.iterate_norms()
        self._begins = last
        logits: Tensor = self.network(latents.hidden_states, latents.mask)
        return logits


class Probe(Learner[EncodedPreference]):
    """One network by Bradley-Terry."""

    def __init__(self, network: Discriminator, reference: FrozenLatents) -> None:
        self.trained = Probed(network).train()
        self.reference = reference

    def backward(self, rows: Sequence[EncodedPreference], share: float, *, last: bool) -> dict[str, Tensor]:
        chosen, rejected = self.trained(self.reference(rows), last=last).chunk(2)
        loss = bradley_terry(chosen, rejected).mean()
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return preference_metrics(loss, chosen, rejected)

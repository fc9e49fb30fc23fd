"""The adversarial game while a policy trains: two discriminators and the optimiser that moves them."""

from typing import Any

import torch
from torch import Tensor, nn

from trainer.adversarial.discriminators import Discriminators
from trainer.adversarial.latent_sets import LatentSets
from trainer.adversarial.ranks import sum_over_ranks
from trainer.adversarial.regulariser import Metrics, Regulariser
from trainer.adversarial.settings import Adversarial
from trainer.models.discriminators import MSE, Discriminator, RandomDiscriminator


class AdversarialState(Regulariser):
    """One ``observe`` per micro-batch, one discriminator step per optimiser step.

    At the last micro-batch of a step the discriminators move first and the policy plays against the moved ones, which
    at one micro-batch per step is Algorithm 1 exactly; earlier micro-batches play against those of the step before.
    The discriminators are equal in every process: equal seeds, and gradients and means that are sums over processes.
    """

    def __init__(self, config: Adversarial, hidden_size: int, seed: int) -> None:
        super().__init__(config)
        discriminator = config.discriminator
        assert not isinstance(discriminator, MSE)  # build_regulariser knows
        self.discriminators = Discriminators(discriminator, config, hidden_size, seed)
        self.architecture = discriminator
        self.frozen = isinstance(discriminator, RandomDiscriminator)
        self.optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=0.0
        )

    @property
    def networks(self) -> dict[str, Discriminator]:
        """Both by name, as ``DiscriminatorPair`` takes them."""
        return self.discriminators.players

    def observe(self, latents: LatentSets, share: float, *, last: bool) -> Metrics:
        """Accumulate the discriminators' gradients on detached latents; at the last micro-batch also step.

        ``discriminator/grad_norm`` is that of the whole step, before clipping.
        """
        self.train(not self.frozen)
        self.requires_grad_(not self.frozen)
        loss: Tensor
        loss, metrics = self.discriminators(latents, share, last=last)
        if self.frozen:
            return dict(metrics)
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return {**metrics, "discriminator/grad_norm": self._step()} if last else dict(metrics)

    def loss(self, latents: LatentSets) -> Tensor:
        self.eval()
        self.requires_grad_(False)
        return self.discriminators.policy_loss(latents, self.config.loss)

    def snapshot(self) -> dict[str, Any]:
        return {"discriminators": self.discriminators.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _step(self) -> Tensor:
        """Move both discriminators by the gradients of all processes; returns their norm."""
        parameters = list(self.discriminators.parameters())
        sum_over_ranks([parameter.grad for parameter in parameters if parameter.grad is not None])
        norm = nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

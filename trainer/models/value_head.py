"""The critic of PPO: what a policy expects to be paid, told before each token from what stands to its left alone."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.models.policy import PairBatch, Policy, PolicyNetwork

Trunk = Literal["separate", "shared", "detached"]


class ActorCritic(nn.Module):
    """A policy's network and its value head, in one forward that a launcher may wrap."""

    def __init__(self, policy: Policy, trunk: Trunk) -> None:
        """``separate``: values come from a copy of the backbone, whose gradients leave the policy alone; ``shared``:
        from the policy's own hidden states, which learn from them too; ``detached``: from those, without teaching
        them. The head starts at zero, so that the first advantages are the rewards' own."""
        super().__init__()
        self.network = policy.network
        self.trunk: PolicyNetwork | None = None
        if trunk == "separate":
            self.trunk = PolicyNetwork(copy.deepcopy(policy.model))
        self._detached = trunk == "detached"
        self.head = nn.Linear(int(policy.model.config.hidden_size), 1, device=policy.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Log-probabilities of response tokens and values V(tokens < t), both (batch, length), zero elsewhere."""
        hidden_states, logps = self.network(batch)
        if self.trunk is not None:
            hidden_states = self.trunk.hidden_states(batch)
        elif self._detached:
            hidden_states = hidden_states.detach()
        # as with log-probabilities, position t is told from the hidden state at t - 1
        before = self.head(hidden_states[:, :-1].to(self.head.weight.dtype))[..., 0].float()
        return logps, torch.where(batch.response_mask, nn.functional.pad(before, (1, 0)), 0.0)

    def critic(self) -> nn.Module:
        """The modules that only values need."""
        return nn.ModuleList([self.head] if self.trunk is None else [self.head, self.trunk])

"""The four sets of latents of a batch: reference and policy on chosen and rejected responses."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from trainer.models.discriminators import Discriminator
from trainer.models.latents import Latents

SetName = Literal["policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected"]


class LatentSets:
    """Latents of policy and reference on the same rows, chosen ones first; either side may be empty."""

    def __init__(self, policy: Latents, reference: Latents, chosen: int | None = None) -> None:
        """``chosen`` counts the chosen rows; None: half of all."""
        self.rows = policy.hidden_states.shape[0]
        chosen = self.rows // 2 if chosen is None else chosen
        first, second = slice(0, chosen), slice(chosen, None)
        self._sets: dict[SetName, Latents] = {
            "policy_chosen": policy.rows(first),
            "policy_rejected": policy.rows(second),
            "reference_chosen": reference.rows(first),
            "reference_rejected": reference.rows(second),
        }

    def __getitem__(self, name: SetName) -> Latents:
        return self._sets[name]

    def mean(self, values: Tensor) -> Tensor:
        """The expectation over one of the sets, values (rows of the set,), as a part of its batch's.

        Every response counts the same: a set is weighed by its size against half of all rows. With chosen and
        rejected in pairs that is the plain mean; an empty set gives 0, and parts of a batch, each weighed by its
        share of the responses, add up to the whole however it was divided.
        """
        return values.sum() * (2 / max(self.rows, 1))

    def logits(self, network: Discriminator, names: Sequence[SetName], *, live: bool) -> list[Tensor]:
        """Logits of each set from one pass over all; unless ``live``, gradients stop at the latents."""
        sets = [self[name] for name in names]
        hidden = torch.cat([each.hidden_states.float() for each in sets])
        hidden = hidden if live else hidden.detach()
        mask = torch.cat([each.mask for each in sets])
        flat = network(hidden, mask) if len(hidden) else hidden.new_zeros(0)
        return list(flat.split([len(each.mask) for each in sets]))

"""GANPO's "fixed D": no network, but the distance between the latents of policy and reference."""

from typing import Literal

from torch import Tensor

from trainer.models.discriminators.contract import masked_mean
from trainer.models.latents import Latents
from trainer.recipe import Model


class MSE(Model):
    """|h_theta - h_ref|^2 / d at each token. It plays no game and scores nothing, so nothing of it is published."""

    kind: Literal["mse"] = "mse"


def latent_distance(policy: Latents, reference: Latents) -> Tensor:
    """Mean over a row's tokens of |h_theta - h_ref|^2 / d, (batch,), float32; the reference is held constant."""
    difference = policy.hidden_states.float() - reference.hidden_states.detach().float()
    per_token = difference.square().mean(dim=-1, keepdim=True)
    return masked_mean(per_token, policy.mask)[:, 0]

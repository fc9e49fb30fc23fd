"""The regulariser without a game: mean squared distance between the latents of policy and reference."""

from torch import Tensor

from trainer.adversarial.latent_sets import LatentSets
from trainer.adversarial.regulariser import Metrics, Regulariser
from trainer.models.discriminators import latent_distance


class LatentDistance(Regulariser):
    """``mse`` of arXiv 2601.22083, Table 3: the same distance on chosen and on rejected responses, added up."""

    def observe(self, latents: LatentSets, share: float, *, last: bool) -> Metrics:
        return {}

    def loss(self, latents: LatentSets) -> Tensor:
        chosen = latent_distance(latents["policy_chosen"], latents["reference_chosen"])
        rejected = latent_distance(latents["policy_rejected"], latents["reference_rejected"])
        return (0.5 if self.config.loss_scale == "code" else 1.0) * (latents.mean(chosen) + latents.mean(rejected))

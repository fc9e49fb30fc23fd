"""From a recipe's settings to the regulariser they mean."""

from trainer.adversarial.latent_distance import LatentDistance
from trainer.adversarial.regulariser import Regulariser
from trainer.adversarial.settings import Adversarial
from trainer.adversarial.state import AdversarialState
from trainer.models.discriminators import MSE


def build_regulariser(config: Adversarial, hidden_size: int, seed: int) -> Regulariser:
    """The regulariser for latents of ``hidden_size`` features; equal seeds give equal ones."""
    if isinstance(config.discriminator, MSE):
        return LatentDistance(config)
    return AdversarialState(config, hidden_size, seed)

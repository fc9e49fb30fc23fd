"""What a recipe says about the adversarial game."""

from typing import Annotated, Literal

from pydantic import Field

from trainer.adversarial.relativistic_average import AdversarialLoss
from trainer.models.discriminators import AnyDiscriminator, TransformerDiscriminator
from trainer.models.latents import MaskChoice
from trainer.recipe import Model


class Game(Model):
    """What discriminators are trained to tell apart (arXiv 2601.22083, eqs. 10-12, 19 and 20)."""

    quad: bool = True
    """Whether discriminators also separate the policy from the opposite reference (second terms of eqs. 19, 20)."""
    decay: float = Field(0.9, ge=0, lt=1)
    """Of the moving means of logits."""
    mask: MaskChoice = "response"
    """Which tokens discriminators read."""
    loss_scale: Literal["paper", "code"] = "paper"
    """Sums of terms as in the equations, or their means (1/4 and 1/2) as in the authors' code."""


class Adversarial(Game):
    """The regulariser of GANPO."""

    weight: float = Field(1.0, ge=0)
    """lambda of eq. 7."""
    discriminator: AnyDiscriminator = TransformerDiscriminator()
    loss: AdversarialLoss = "non_saturating"
    learning_rate: float = Field(1e-4, gt=0)
    """Of the discriminators, constant. The paper's 2.5e-7 separates almost nothing within an epoch."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of the two moments of the discriminators' AdamW, which has no weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Clips both discriminators' gradients together, apart from the policy's."""

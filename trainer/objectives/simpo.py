"""Simple preference optimisation (arXiv 2405.14734): no reference in the loss, rewards per token."""

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import logsigmoid

from trainer.objectives.contract import PreferenceLogps, PreferenceLoss
from trainer.recipe import Model


class SimPO(Model):
    """-log sigmoid(beta / |y_w| log pi(y_w) - beta / |y_l| log pi(y_l) - gamma), eq. 6."""

    kind: Literal["simpo"] = "simpo"
    beta: float = Field(10.0, gt=0)
    gamma_ratio: float = Field(0.5, ge=0)
    """Target margin gamma as a share of beta."""
    needs_reference_logps: ClassVar[bool] = False

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        chosen = self.beta * logps.chosen / logps.chosen_tokens
        rejected = self.beta * logps.rejected / logps.rejected_tokens
        losses = -logsigmoid(chosen - rejected - self.gamma_ratio * self.beta)
        return PreferenceLoss(losses, chosen.detach(), rejected.detach())

"""Direct preference optimisation (arXiv 2305.18290)."""

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import logsigmoid

from trainer.objectives.contract import PreferenceLogps, PreferenceLoss
from trainer.recipe import Model


class DPO(Model):
    """-log sigmoid(beta [(log pi - log pi_ref)(chosen) - (log pi - log pi_ref)(rejected)]), eq. 7."""

    kind: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference policy."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of flipped preferences (conservative DPO)."""
    needs_reference_logps: ClassVar[bool] = True

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        chosen = self.beta * (logps.chosen - logps.reference_chosen)
        rejected = self.beta * (logps.rejected - logps.reference_rejected)
        margin = chosen - rejected
        losses = -(1 - self.label_smoothing) * logsigmoid(margin) - self.label_smoothing * logsigmoid(-margin)
        return PreferenceLoss(losses, chosen.detach(), rejected.detach())

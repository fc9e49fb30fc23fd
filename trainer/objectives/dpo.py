"""Direct preference optimisation (arXiv 2305.18290)."""

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import logsigmoid

from trainer.objectives.contract import Objective, PreferenceLogps, PreferenceLoss


class DPO(Objective):
    """-log sigmoid(beta [(log pi - log pi_ref)(chosen) - (log pi - log pi_ref)(rejected)]), eq. 7."""

    kind: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference policy."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share epsilon of flipped preferences: (1 - epsilon) l(margin) + epsilon l(-margin), conservative DPO."""
    robust: bool = False
    """Debias instead (arXiv 2403.00409): [(1 - epsilon) l(margin) - epsilon l(-margin)] / (1 - 2 epsilon)."""
    needs_reference_logps: ClassVar[bool] = True

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        chosen = self.beta * (logps.chosen - logps.reference_chosen)
        rejected = self.beta * (logps.rejected - logps.reference_rejected)
        margin, epsilon = chosen - rejected, self.label_smoothing
        agreeing, flipped = -(1 - epsilon) * logsigmoid(margin), -epsilon * logsigmoid(-margin)
        losses = (agreeing - flipped) / (1 - 2 * epsilon) if self.robust else agreeing + flipped
        return PreferenceLoss(losses, chosen.detach(), rejected.detach())

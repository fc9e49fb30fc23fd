"""Identity preference optimisation (arXiv 2310.12036): a squared loss with a finite margin to aim at."""

from typing import ClassVar, Literal

from pydantic import Field

from trainer.objectives.contract import Objective, PreferenceLogps, PreferenceLoss


class IPO(Objective):
    """(h - 1 / (2 beta))^2, eq. 17, with h = (log pi - log pi_ref)(chosen) - (log pi - log pi_ref)(rejected).

    The paper writes log-ratios of whole responses, which lets long responses dominate the square; its authors'
    results, and TRL, divide each by its response's tokens, as is the default here.
    """

    kind: Literal["ipo"] = "ipo"
    beta: float = Field(0.1, gt=0)
    """tau of the paper: the margin aimed at is 1 / (2 beta)."""
    length_normalised: bool = True
    """Log-ratios per token; false: of whole responses, as eq. 17 is written. Rewards are of whole responses always."""
    needs_reference_logps: ClassVar[bool] = True

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        chosen = logps.chosen - logps.reference_chosen
        rejected = logps.rejected - logps.reference_rejected
        rewards = self.beta * chosen.detach(), self.beta * rejected.detach()
        if self.length_normalised:
            chosen, rejected = chosen / logps.chosen_tokens, rejected / logps.rejected_tokens
        return PreferenceLoss((chosen - rejected - 1 / (2 * self.beta)) ** 2, *rewards)

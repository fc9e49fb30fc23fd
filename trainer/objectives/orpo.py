"""Odds ratio preference optimisation (arXiv 2403.07691): imitation and contrast in one loss, no reference."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainer.objectives.contract import Objective, PreferenceLogps, PreferenceLoss

CERTAIN = -1e-6
"""The odds of a response of probability 1 are infinite; log-probabilities above this one count as it."""


class ORPO(Objective):
    """L_SFT - beta log sigmoid(log odds(y_w) - log odds(y_l)), eqs. 6 and 7, with odds = p / (1 - p), eq. 4,
    where log p(y|x) is the mean over the response's tokens (eq. 3).
    """

    kind: Literal["orpo"] = "orpo"
    beta: float = Field(0.1, gt=0)
    """lambda of eq. 6, called beta as in TRL: the weight of the odds ratio beside imitation."""
    nll: Literal["paper", "trl"] = "paper"
    """L_SFT as in the paper, -log p(y_w|x) of every pair; or as TRL has it, the mean over all tokens, prompts included,
    of the chosen texts of a micro-batch, which depends on how batches are divided."""
    per_token: ClassVar[bool] = True

    @property
    def reads_prompts(self) -> bool:
        return self.nll == "trl"

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        chosen = logps.chosen / logps.chosen_tokens
        rejected = logps.rejected / logps.rejected_tokens
        if self.nll == "trl":
            assert logps.chosen_text is not None
            assert logps.chosen_text_tokens is not None
            nll = -logps.chosen_text / logps.chosen_text_tokens.float().mean()
        else:
            nll = -chosen
        log_odds = _log_odds(chosen) - _log_odds(rejected)
        ratio = logsigmoid(log_odds)
        return PreferenceLoss(
            nll - self.beta * ratio,
            self.beta * chosen.detach(),
            self.beta * rejected.detach(),
            metrics={
                "nll_loss": nll.detach(),
                "log_odds_ratio": ratio.detach(),
                "log_odds_chosen": log_odds.detach(),
            },
        )


def _log_odds(logps: Tensor) -> Tensor:
    """log p / (1 - p) from log p, (responses,); without cancellation on either side of p = 1/2."""
    logps = logps.clamp(max=CERTAIN)
    improbable = logps < -0.6931471805599453  # log 1/2
    return logps - torch.where(improbable, torch.log1p(-torch.exp(logps)), torch.log(-torch.expm1(logps)))

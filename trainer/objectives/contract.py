"""What every preference objective is given and gives back."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PreferenceLogps:
    """Summed response log-probabilities and response lengths in tokens, each (pairs,)."""

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor


@dataclass(frozen=True)
class PreferenceLoss:
    """Per-pair losses and the rewards the objective implies, each (pairs,). Rewards carry no gradient."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor

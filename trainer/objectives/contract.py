"""What every preference objective says of itself, is given and gives back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from trainer.recipe import Model


@dataclass(frozen=True)
class PreferenceLogps:
    """Log-probabilities summed over responses, and lengths in tokens: (chosen,) or (rejected,), one per response.

    Both sides are equally long and row i of one belongs to row i of the other, unless the data is unpaired.
    """

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    mismatched_log_ratio: Tensor | None = None
    """Mean of log pi - log pi_ref over the mismatched responses of the whole optimiser step, (), no gradient."""
    chosen_text: Tensor | None = None
    """Log-probability of prompt and chosen response together, (chosen,), for objectives that read prompts."""
    chosen_text_tokens: Tensor | None = None


@dataclass(frozen=True)
class PreferenceLoss:
    """Losses whose mean is minimised, one per pair or (unpaired objectives) per response, and the rewards implied."""

    losses: Tensor
    chosen_rewards: Tensor
    """(chosen,), no gradient."""
    rejected_rewards: Tensor
    """(rejected,), no gradient."""
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """More to log, named as TRL names it: per row, or one number for the step; no gradient."""


class Objective(Model, ABC):
    """The settings of a preference objective, which are also its formula."""

    needs_reference_logps: ClassVar[bool] = False
    """Whether it compares with a reference policy; its reward is then beta (log pi - log pi_ref)."""
    needs_mismatched: ClassVar[bool] = False
    """Whether it estimates a divergence on mismatched responses."""
    pairwise: ClassVar[bool] = True
    """Whether a loss needs both sides of a row."""
    per_token: ClassVar[bool] = False
    """Whether it reads log-probabilities averaged over a response's tokens instead of summed."""

    @property
    def reads_prompts(self) -> bool:
        """Whether it needs ``PreferenceLogps.chosen_text``."""
        return False

    @abstractmethod
    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss: ...

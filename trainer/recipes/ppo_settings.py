"""Every choice that PPO leaves open; the defaults are GAPO's (arXiv 2503.20194, appendix, on product descriptions)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.models.value_head import Trunk
from trainer.policy_gradient import KLEstimator, RewardTransform
from trainer.recipe import Model


class KLSettings(Model):
    """What holds the policy to the one it started from."""

    estimator: KLEstimator = "k1"
    """Of each token's KL from its one sample: k1 = log pi / pi_ref, k2 = k1^2 / 2, k3 = pi_ref / pi - 1 + k1."""
    coefficient: float = Field(0.01, ge=0)
    """What each nat of it costs, paid at its token."""
    target: float | None = Field(None, gt=0)
    """Nats per response to which the coefficient is adapted round by round; null: it stays as it is."""
    gain: float = Field(0.1, gt=0)
    """How fast it adapts: by at most a fifth of this share in a round."""
    limit: float = Field(1000.0, gt=0)
    """Nats per response at which the run fails rather than to go on with a policy that fell apart."""


class RewardSettings(Model):
    """What a response is paid for its score s."""

    transform: RewardTransform = "logit"
    """``logit``: s; ``log_sigmoid``: log sigmoid(s); ``sigmoid``: sigmoid(s), a probability for a pointwise model."""
    clamp: float = Field(10.0, gt=0)
    """Rewards stay within plus and minus this."""
    scale: float = Field(1.0, gt=0)
    """Multiplies the clamped reward."""
    missing_eos_penalty: float = Field(0.0, ge=0)
    """Taken from the reward of a response that reached the limit on tokens without ending."""
    missing_eos_reward: float | None = None
    """What such a response is paid instead, whatever its score."""


class ValueSettings(Model):
    """The critic."""

    trunk: Trunk = "separate"
    """``separate``: its own copy of the policy's backbone; ``shared``: the policy's, which learns values too;
    ``detached``: one linear layer on the policy's hidden states, which do not learn from it."""
    learning_rate: float = Field(9e-6, gt=0)
    clip: float | None = Field(0.2, gt=0)
    """How far a value moves per rollout batch before its loss stops pulling; null: no limit."""
    weight: float = Field(1.0, gt=0)
    """Of its loss beside the policy's; matters where they share a trunk."""
    warmup_rounds: int = Field(0, ge=0)
    """Rounds in the beginning in which the critic alone learns."""


class PPOSettings(Model):
    """Sampling is always from the whole distribution, at temperature 1, with fresh noise."""

    rollouts: int = Field(1024, ge=1)
    """Responses sampled for each PPO pass."""
    responses_per_prompt: int = Field(1, ge=1)
    epochs: int = Field(2, ge=1)
    """Over each batch of rollouts."""
    minibatch: int = Field(128, ge=1)
    """Responses per optimiser step."""
    micro: int | None = Field(None, ge=1)
    """Responses that go through the networks at once; null: a whole minibatch."""
    max_response_tokens: int = Field(1024, ge=1)
    """Where sampling stops if the policy does not."""
    clip: float = Field(0.2, gt=0, lt=1)
    """How far the ratio of new to old probability moves before it stops paying."""
    advantages: Literal["gae", "rloo", "group"] = "gae"
    """``gae``: by the critic. Without one, among a prompt's responses: ``rloo``, each less the mean of the others;
    ``group``, less the mean and divided by the standard deviation, as GRPO."""
    gamma: float = Field(1.0, gt=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    whiten: bool = True
    """Advantages of ``gae`` to mean 0 and variance 1 over the rollout batch."""
    kl: KLSettings = KLSettings()
    reward: RewardSettings = RewardSettings()
    value: ValueSettings = ValueSettings()

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.rollouts % self.responses_per_prompt:
            raise ValueError(
                f"rollouts {self.rollouts} cannot be shared out evenly in groups of {self.responses_per_prompt}"
            )
        if self.advantages != "gae" and self.responses_per_prompt == 1:
            raise ValueError(f"advantages {self.advantages} compare a prompt's responses: set responses_per_prompt")
        return self

    @property
    def prompts(self) -> int:
        """Different prompts in each batch of rollouts."""
        return self.rollouts // self.responses_per_prompt

    @property
    def updates(self) -> int:
        """Optimiser steps of one PPO pass."""
        return self.epochs * -(-self.rollouts // self.minibatch)

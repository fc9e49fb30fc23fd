"""What the scores of policies and discriminators are called; known without loading any."""

from collections.abc import Sequence
from typing import Any

POLICY_OUTPUTS = ("mean_logprob", "sum_logprob")
COMPARED_OUTPUTS = ("implicit_reward", *POLICY_OUTPUTS, "reference_mean_logprob", "reference_sum_logprob")
"""Of a policy whose reference is known."""

PLAYERS = ("chosen", "rejected")
PLAYER_OUTPUTS = (*PLAYERS, "difference")
ON_POLICY = "policy_"
"""Prefix of a discriminator's outputs on the trained policy's features instead of the reference's."""
RANDOM = "random_"
"""Prefix of the networks of an artifact that holds nothing but controls."""
UNTRAINED = tuple(f"untrained_{seed}" for seed in range(10))
"""What a discriminator's architecture gives with the weights that each seed draws: controls, told by no manifest."""


def networks_of(details: dict[str, Any]) -> list[str]:
    """Names of the networks whose outputs a discriminator's manifest lists."""
    return [name for name in details.get("outputs", PLAYERS) if name != "difference"]


def outputs_on(networks: Sequence[str], *, policy_known: bool) -> tuple[str, ...]:
    """Names of the scores that discriminators of these names give."""
    outputs = PLAYER_OUTPUTS if tuple(networks) == PLAYERS else tuple(networks)
    return (*outputs, *(ON_POLICY + name for name in outputs)) if policy_known else outputs

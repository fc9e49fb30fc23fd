"""Policy-gradient formulas: pure functions of tensors (responses, length) and their mask.

Position t speaks of the token there: ``logps[:, t]`` is log pi(token t | tokens < t), ``values[:, t]`` is V(tokens < t)
and ``rewards[:, t]`` is paid for emitting it. Masks are True on a response's tokens, EOS included; whatever a tensor
holds elsewhere changes nothing.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

KLEstimator = Literal["k1", "k2", "k3"]
RewardTransform = Literal["logit", "log_sigmoid", "sigmoid"]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the masked tokens; zero if there are none."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Masked values to mean 0 and (population) variance 1; zero elsewhere, and everywhere if all are equal."""
    centred = torch.where(mask, values - masked_mean(values, mask), 0.0)
    return centred * torch.rsqrt(masked_mean(centred.square(), mask) + 1e-8)


def kl_estimate(logps: Tensor, reference_logps: Tensor, estimator: KLEstimator) -> Tensor:
    """Estimate of KL(policy || reference) from each sampled token alone, of which the mean over samples is taken.

    With r = p_ref / p (Schulman, "Approximating KL divergence", 2020): k1 = -log r is unbiased, k2 = (log r)^2 / 2 has
    little variance, k3 = r - 1 - log r is unbiased and never negative.
    """
    log_ratio = reference_logps - logps
    match estimator:
        case "k1":
            return -log_ratio
        case "k2":
            return log_ratio.square() / 2
        case "k3":
            return torch.expm1(log_ratio) - log_ratio


def adapt_coefficient(coefficient: float, kl: float, target: float, *, gain: float = 0.1, clip: float = 0.2) -> float:
    """The next round's KL coefficient: proportional control of its logarithm (arXiv 1909.08593, section 2.2).

    e = clip((KL - target) / target, -clip, clip); beta <- beta (1 + gain e). ``kl`` in nats per response.
    """
    error = max(-clip, min(clip, (kl - target) / target))
    return coefficient * (1 + gain * error)


def transform_scores(scores: Tensor, transform: RewardTransform, clamp: float) -> Tensor:
    """What a policy is paid for a score s, in [-clamp, clamp]: s itself, log sigmoid(s) or sigmoid(s)."""
    match transform:
        case "logit":
            rewards = scores
        case "log_sigmoid":
            rewards = logsigmoid(scores)
        case "sigmoid":
            rewards = torch.sigmoid(scores)
    return rewards.clamp(-clamp, clamp)


def lowest_reward(transform: RewardTransform, clamp: float) -> float:
    """The least that ``transform_scores`` can give: what a response without a score gets, such as an empty one."""
    return 0.0 if transform == "sigmoid" else -clamp


def place_rewards(terminal: Tensor, kl: Tensor, coefficient: float, mask: Tensor) -> Tensor:
    """-coefficient x kl at every token of a response and, at its last, ``terminal`` (responses,) as well.

    arXiv 1909.08593, eq. 2, with the KL term paid token by token.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, positions, -1).amax(dim=1)
    rewards = torch.where(mask, -coefficient * kl, 0.0)
    return rewards + torch.where(positions == last[:, None], terminal[:, None], 0.0)


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, decay: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (responses, length), zero outside the mask.

    delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lambda A_{t+1} (GAE, arXiv 1506.02438, eqs. 12 and 16);
    return_t = A_t + V_t. After a response's last token, ended or cut, there is nothing: V = A = 0.
    """
    values = torch.where(mask, values, 0.0)
    advantages = torch.zeros_like(values)
    following_value = following_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        advantage = torch.where(mask[:, t], delta + gamma * decay * following_advantage, 0.0)
        advantages[:, t] = following_advantage = advantage
        following_value = values[:, t]
    return advantages, torch.where(mask, advantages + values, 0.0)


def leave_one_out_advantages(rewards: Tensor) -> Tensor:
    """Each reward less the mean of its prompt's other rewards (RLOO, arXiv 2402.14740). Shape (prompts, k), k > 1."""
    k = rewards.shape[1]
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (k - 1)
    return rewards - others


def group_advantages(rewards: Tensor) -> Tensor:
    """(r - mean) / std within each prompt's rewards (GRPO, arXiv 2402.03300, section 4.1.2). Shape (prompts, k).

    Zero where a prompt's rewards are all equal.
    """
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred / (rewards.std(dim=1, keepdim=True, correction=0) + 1e-4)


def clipped_surrogate(logps: Tensor, behaviour_logps: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) per token, r = pi / pi_behaviour (PPO, arXiv 1707.06347, eq. 7).

    ``behaviour_logps`` are of the policy that sampled, which stays the same through all epochs over its samples.
    """
    ratio = torch.exp(logps - behaviour_logps)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """max((V - R)^2, (V_clipped - R)^2) / 2 per token, V_clipped within ``clip`` of V_old (None: unclipped).

    As the authors' code of PPO has it (arXiv 2005.12729, section 3).
    """
    losses = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        losses = torch.maximum(losses, (near - returns).square())
    return losses / 2

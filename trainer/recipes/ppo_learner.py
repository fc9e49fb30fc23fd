"""Proximal policy optimisation (arXiv 1707.06347) of a policy on rollouts that somebody scored."""

import math
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from trainer import policy_gradient as pg
from trainer.errors import RunFailed
from trainer.models.policy import Policy, collate
from trainer.models.value_head import ActorCritic
from trainer.processes import clip_gradients
from trainer.recipes.ppo_settings import PPOSettings
from trainer.recipes.response_scores import Score, mean_of
from trainer.resuming import put_weights, trained_weights
from trainer.rollouts import Between, PolicyPrompt, Rollout, TokenTable, keep_on, recompute, sample_rollouts
from trainer.schedule import OptimizerSettings, check_finite, learning_rate, make_adam, take_step


class PPOLearner:
    """A policy, its critic and their optimisers. What it does in a pass depends on its state and the pass's number."""

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        settings: PPOSettings,
        optimizer: OptimizerSettings,
        *,
        passes: int,
        seed: int,
        compute_dtype: torch.dtype = torch.float32,
    ) -> None:
        policy.model.eval()  # dropout would make the policy another one than the one that sampled
        self.policy = policy
        self.reference = reference
        self.settings = settings
        self.optimizer = optimizer
        self.critical = settings.advantages == "gae"
        self.actor_critic = ActorCritic(policy, settings.value.trunk if self.critical else "detached")
        self.critic_settings = optimizer.model_copy(update={"learning_rate": settings.value.learning_rate})
        self.adam = make_adam(policy.network, optimizer)
        self.critic_adam = make_adam(self.actor_critic.critic(), self.critic_settings)
        self.coefficient = settings.kl.coefficient
        self.updates = passes * settings.updates
        self.seed = seed
        self._dtype = compute_dtype

    def sample(self, prompts: Sequence[PolicyPrompt], draw: int, between: Between = keep_on) -> list[Rollout]:
        """Responses of the present policy; each ``draw`` meets its own noise."""
        with self._precision():
            return sample_rollouts(
                self.policy,
                prompts,
                replicates=self.settings.responses_per_prompt,
                seed=self.seed,
                draw=draw,
                max_response_tokens=self.settings.max_response_tokens,
                between=between,
            )

    def learn(
        self,
        rollouts: Sequence[Rollout],
        scores: Sequence[Score],
        number: int,
        *,
        critic_only: bool = False,
        between: Between = keep_on,
    ) -> dict[str, float]:
        """One PPO pass, ``number`` from 0, on what the present policy sampled; metrics under TRL's names.

        Raises RunFailed if the policy is further than ``kl.limit`` from its reference, or for a loss or gradient that
        is not finite, before it reaches the weights.
        """
        table = self._recompute(rollouts, between)
        kl = pg.kl_estimate(table.logps, table.reference_logps, self.settings.kl.estimator)
        per_response = torch.where(table.mask, kl, 0.0).sum(dim=1)
        self._check_kl(float(per_response.mean()))
        rewards = self._rewards(rollouts, scores).to(table.logps.device)
        advantages, returns = self._advantages(rewards, kl, table)
        metrics = self._describe(rollouts, scores, rewards, per_response, table)
        sums: dict[str, float] = {}
        for epoch in range(self.settings.epochs):
            order = list(range(len(rollouts)))
            random.Random(f"minibatches/{self.seed}/{number}/{epoch}").shuffle(order)
            minibatches = [
                order[i : i + self.settings.minibatch] for i in range(0, len(order), self.settings.minibatch)
            ]
            for position, chosen in enumerate(minibatches):
                done = epoch * len(minibatches) + position
                between(f"policy step {done + 1} of {self.settings.epochs * len(minibatches)}")
                update = number * self.settings.updates + done
                part = self._step(rollouts, chosen, table, advantages, returns, update, critic_only)
                for name, value in part.items():
                    sums[name] = sums.get(name, 0.0) + value / (self.settings.epochs * len(minibatches))
                if epoch == position == 0:
                    metrics["val/first_ratio"] = part["val/ratio"]
        if self.settings.kl.target is not None:
            self.coefficient = pg.adapt_coefficient(
                self.coefficient, metrics["objective/kl"], self.settings.kl.target, gain=self.settings.kl.gain
            )
        return metrics | sums

    def state(self) -> dict[str, Any]:
        """What a resume needs."""
        return {
            "policy": trained_weights(self.policy.network),
            "critic": trained_weights(self.actor_critic.critic()),
            "adam": self.adam.state_dict(),
            "critic_adam": self.critic_adam.state_dict(),
            "coefficient": self.coefficient,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        put_weights(self.policy.network, state["policy"])
        put_weights(self.actor_critic.critic(), state["critic"])
        self.adam.load_state_dict(state["adam"])
        self.critic_adam.load_state_dict(state["critic_adam"])
        self.coefficient = state["coefficient"]

    def _precision(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.policy.device.type, self._dtype)

    def _recompute(self, rollouts: Sequence[Rollout], between: Between) -> TokenTable:
        with self._precision():
            return recompute(
                rollouts,
                self.actor_critic,
                self.reference.logps,
                pad_id=self.policy.pad_id,
                device=self.policy.device,
                micro=self.settings.micro or self.settings.minibatch,
                between=between,
            )

    def _rewards(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Tensor:
        """Terminal rewards (responses,)."""
        settings = self.settings.reward
        floor = pg.lowest_reward(settings.transform, settings.clamp)
        known = torch.tensor([0.0 if score is None else score for score in scores])
        rewards = pg.transform_scores(known, settings.transform, settings.clamp)
        rewards[torch.tensor([score is None for score in scores])] = floor
        rewards *= settings.scale
        cut = torch.tensor([not rollout.ended for rollout in rollouts])
        rewards[cut] -= settings.missing_eos_penalty
        if settings.missing_eos_reward is not None:
            rewards[cut] = settings.missing_eos_reward
        return rewards

    def _advantages(self, rewards: Tensor, kl: Tensor, table: TokenTable) -> tuple[Tensor, Tensor]:
        """Advantages and returns, (responses, length) both; without a critic there are no returns to learn."""
        settings = self.settings
        if self.critical:
            placed = pg.place_rewards(rewards, kl, self.coefficient, table.mask)
            advantages, returns = pg.generalized_advantages(
                placed, table.values, table.mask, gamma=settings.gamma, decay=settings.gae_lambda
            )
            return (pg.whiten(advantages, table.mask) if settings.whiten else advantages), returns
        paid = rewards - self.coefficient * torch.where(table.mask, kl, 0.0).sum(dim=1)
        groups = paid.reshape(-1, settings.responses_per_prompt)
        compare = pg.leave_one_out_advantages if settings.advantages == "rloo" else pg.group_advantages
        return compare(groups).reshape(-1, 1) * table.mask, torch.zeros_like(kl)

    def _step(
        self,
        rollouts: Sequence[Rollout],
        chosen: Sequence[int],
        table: TokenTable,
        advantages: Tensor,
        returns: Tensor,
        update: int,
        critic_only: bool,
    ) -> dict[str, float]:
        """One optimiser step on the rollouts ``chosen``; every token of the minibatch counts the same."""
        tokens = float(table.mask[torch.as_tensor(chosen, device=table.mask.device)].sum())
        ordered = sorted(chosen, key=lambda index: rollouts[index].encoded.tokens)
        micro = self.settings.micro or len(ordered)
        sums: dict[str, float] = {}
        for start in range(0, len(ordered), micro):
            some = ordered[start : start + micro]
            part = self._backward(rollouts, some, table, advantages, returns, tokens, critic_only)
            for name, value in part.items():
                sums[name] = sums.get(name, 0.0) + value / tokens
        _check_finite({name: sums[name] for name in ("loss/policy_avg", "loss/value_avg")}, update)
        sums["lr"] = self._move(self.adam, self.policy.network, self.optimizer, update, idle=critic_only)
        sums["lr/value"] = self._move(
            self.critic_adam, self.actor_critic.critic(), self.critic_settings, update, idle=not self.critical
        )
        return sums

    def _backward(
        self,
        rollouts: Sequence[Rollout],
        some: Sequence[int],
        table: TokenTable,
        advantages: Tensor,
        returns: Tensor,
        tokens: float,
        critic_only: bool,
    ) -> dict[str, float]:
        """Gradients of one micro-batch; sums over its tokens."""
        settings = self.settings
        batch = collate([rollouts[index].encoded for index in some], self.policy.pad_id).to(self.policy.device)
        with self._precision():
            logps, values = self.actor_critic(batch)
        mask, width = batch.response_mask, batch.input_ids.shape[1]
        old = table.rows(some, width)
        picked = torch.as_tensor(some, device=mask.device)
        policy_losses = pg.clipped_surrogate(logps, old.logps, advantages[picked, :width], settings.clip)[mask]
        value_losses = pg.clipped_value_loss(values, old.values, returns[picked, :width], settings.value.clip)[mask]
        loss = policy_losses.sum() * (0.0 if critic_only else 1.0)
        if self.critical:
            loss = loss + settings.value.weight * value_losses.sum()
        (loss / tokens).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            log_ratio = (logps - old.logps)[mask]
            ratio = log_ratio.exp()
            moved = (values - old.values)[mask].abs()
            return {
                "loss/policy_avg": float(policy_losses.sum()),
                "loss/value_avg": float(value_losses.sum()),
                "policy/approxkl_avg": float(log_ratio.square().sum() / 2),
                "policy/clipfrac_avg": float(((ratio - 1).abs() > settings.clip).sum()),
                "val/ratio": float(ratio.sum()),
                "val/clipfrac_avg": float((moved > (settings.value.clip or math.inf)).sum()),
            }

    def _move(
        self, adam: torch.optim.Optimizer, network: nn.Module, settings: OptimizerSettings, update: int, *, idle: bool
    ) -> float:
        """Clip, step and clear; returns the rate. ``idle``: only clear."""
        if idle:
            adam.zero_grad(set_to_none=True)
            return 0.0
        norm = clip_gradients(network, settings.max_grad_norm)
        _check_finite({"gradient's norm": float(norm)}, update)
        rate = learning_rate(update, self.updates, settings)
        take_step(adam, rate)
        return rate

    def _check_kl(self, kl: float) -> None:
        limit = self.settings.kl.limit
        if not kl <= limit:
            raise RunFailed(
                f"the policy diverged: {kl:.1f} nats per response from its reference, over ppo.kl.limit={limit:g};"
                " raise ppo.kl.coefficient or lower optimizer.learning_rate (the last checkpoint is intact)"
            )

    def _describe(
        self,
        rollouts: Sequence[Rollout],
        scores: Sequence[Score],
        rewards: Tensor,
        kl: Tensor,
        table: TokenTable,
    ) -> dict[str, float]:
        cost = self.coefficient * float(kl.mean())
        ended = sum(rollout.ended for rollout in rollouts)
        lengths = table.mask.sum(dim=1).float()
        return {
            "objective/kl": float(kl.mean()),
            "objective/entropy": -float(torch.where(table.mask, table.logps, 0.0).sum(dim=1).mean()),
            "objective/non_score_reward": -cost,
            "objective/rlhf_reward": float(rewards.mean()) - cost,
            "objective/rewards": float(rewards.mean()),
            "objective/scores": mean_of(scores),
            "objective/unscored": float(sum(score is None for score in scores)),
            "objective/kl_coefficient": self.coefficient,
            "val/num_eos_tokens": float(ended),
            "completions/mean_length": float(lengths.mean()),
            "completions/clipped_ratio": 1 - ended / len(rollouts),
        }


def _check_finite(values: Mapping[str, float], update: int) -> None:
    advice = "optimizer.learning_rate or ppo.value.learning_rate (the last checkpoint is intact)"
    check_finite(values, f"update {update + 1}", advice)

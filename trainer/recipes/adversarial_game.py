"""GAPO's rounds (arXiv 2503.20194): a policy is trained against a reward model that is trained against the policy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from trainer.data.product_world import satisfied
from trainer.data.product_world.reading import read_prompt
from trainer.data.text import Encoded, Prompt, as_text
from trainer.errors import OverlongInput, RunFailed
from trainer.models.reward_model import RewardModel
from trainer.recipes.adversarial_batches import AdversarialBatches, GeneratedLabel, Labelled, OracleLabel, SoftLabel
from trainer.recipes.live_reward_model import LiveRewardModel
from trainer.recipes.playing import Game, RoundReport
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.response_scores import ModelScores, Score, mean_of, score_rollouts
from trainer.recipes.rounds import Judges, PromptRounds, greedy_responses
from trainer.rollouts import Between, PolicyPrompt, Rollout

RewardFrom = Literal["live", "anchor", "min"]


@dataclass(frozen=True)
class Pace:
    """How much of what a round has."""

    reward_model_steps: int
    policy_steps: int
    warmup_rounds: int
    """In which the critic alone learns."""
    replay: int | None
    """Newest generations that the reward model is shown; None: the round's own."""


class AdversarialGame(Game):
    """A round: sample; show the reward model accepted, rejected and sampled rows; PPO on what it now says."""

    def __init__(
        self,
        learner: PPOLearner,
        live: LiveRewardModel,
        anchor: RewardModel,
        batches: AdversarialBatches,
        *,
        prompts: PromptRounds,
        held_out: Sequence[PolicyPrompt],
        judges: Judges,
        pace: Pace,
        label: GeneratedLabel,
        reward_from: RewardFrom,
        publish: Callable[[int], None],
    ) -> None:
        """``publish`` is called after every round, with how many there were."""
        self.learner, self._live, self._batches = learner, live, batches
        self._prompts, self._held_out, self._judges, self._pace = prompts, held_out, judges, pace
        self._label, self._reward_from, self._publish = label, reward_from, publish
        self._live_scores, self._anchor_scores = ModelScores(live.model), ModelScores(anchor)
        self._replay: list[tuple[int, str]] = []
        """(place among the prompts, response), oldest first."""

    def play(self, number: int, between: Between) -> RoundReport:
        first = number * self._pace.policy_steps
        rollouts = self._sample(first, between)
        metrics = self._remember(rollouts) | self._teach(number, between)
        scores: list[Score] = []
        for position in range(self._pace.policy_steps):
            if position:
                rollouts = self._sample(first + position, between)
            between("scores")
            scores, anchored = self._scores(rollouts)
            warming_up = number < self._pace.warmup_rounds
            learned = self.learner.learn(rollouts, scores, first + position, critic_only=warming_up, between=between)
        judged = self._judges.means(rollouts) | {"anchor/probability": _mean_probability(anchored)}
        trusted = self._judges.trusted(judged)
        if self._reward_from != "anchor" and self._pace.reward_model_steps:
            trusted["anchor/probability"] = judged["anchor/probability"]
        self._publish(number + 1)
        return RoundReport({**metrics, **learned, **judged}, mean_of(scores), trusted)

    def evaluate(self) -> dict[str, float]:
        if not self._held_out:
            return {}
        responses = greedy_responses(self.learner, self._held_out)
        prompts, texts = [each.prompt.prompt for each in responses], [each.response for each in responses]
        found = {
            **self._judges.means(responses),
            "live/probability": _mean_probability(self._live_scores(prompts, texts)),
            "anchor/probability": _mean_probability(self._anchor_scores(prompts, texts)),
        }
        return {f"held_out/{name}": value for name, value in found.items()}

    def state(self) -> dict[str, Any]:
        return {"policy": self.learner.state(), "reward_model": self._live.state(), "replay": list(self._replay)}

    def restore(self, state: dict[str, Any]) -> None:
        self.learner.restore(state["policy"])
        self._live.restore(state["reward_model"])
        self._replay = [(index, response) for index, response in state["replay"]]

    def _sample(self, number: int, between: Between) -> list[Rollout]:
        return self.learner.sample(self._prompts.of_pass(number), number, between)

    def _remember(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """Keep what the reward model can read. Raises RunFailed if that is nothing."""
        usable = [each for each in rollouts if self._encode(each.prompt.prompt, each.response) is not None]
        fresh = [(each.prompt.index, each.response) for each in usable]
        self._replay = fresh if self._pace.replay is None else [*self._replay, *fresh][-self._pace.replay :]
        if not self._replay:
            raise RunFailed(
                f"none of {len(rollouts)} generations can be shown to the reward model: all are empty or longer than"
                " its window; train the policy further, or lower ppo.max_response_tokens"
            )
        return {"reward_model/unusable_generations": float(len(rollouts) - len(usable))}

    def _teach(self, number: int, between: Between) -> dict[str, float]:
        """This round's steps of the reward model; means over them."""
        generations = self._generations() if self._pace.reward_model_steps else []
        sums: dict[str, float] = {}
        for position in range(self._pace.reward_model_steps):
            between(f"reward-model step {position + 1} of {self._pace.reward_model_steps}")
            step = number * self._pace.reward_model_steps + position
            part = self._live.step(self._batches.batch(step, generations), step)
            for name, value in part.items():
                sums[name] = sums.get(name, 0.0) + value / self._pace.reward_model_steps
        return sums

    def _generations(self) -> list[Labelled]:
        labelled = []
        for index, response in self._replay:
            prompt = self._prompts.prompts[index].prompt
            encoded = self._encode(prompt, response)
            assert encoded is not None
            labelled.append(Labelled(encoded, label_of(self._label, prompt, response), "generated"))
        return labelled

    def _encode(self, prompt: Prompt, response: str) -> Encoded | None:
        try:
            return self._live.model.encode(prompt, response, "error") if response.strip() else None
        except OverlongInput:
            return None

    def _scores(self, rollouts: Sequence[Rollout]) -> tuple[list[Score], list[Score]]:
        """What the policy is paid for, and what the anchor says."""
        live, anchored = score_rollouts(self._live_scores, rollouts), score_rollouts(self._anchor_scores, rollouts)
        return paid_for(self._reward_from, live, anchored), anchored


def label_of(label: GeneratedLabel, prompt: Prompt, response: str) -> float:
    """The probability that the reward model is told for a generation. Raises InvalidInput as ``read_prompt``."""
    if isinstance(label, OracleLabel):
        return float(satisfied(read_prompt(as_text(prompt)), response))
    return label.alpha if isinstance(label, SoftLabel) else 0.0


def paid_for(reward_from: RewardFrom, live: Sequence[Score], anchored: Sequence[Score]) -> list[Score]:
    """The scores that are optimised; what either of two cannot score, the lesser of them cannot."""
    if reward_from == "min":
        return [
            None if one is None or other is None else min(one, other) for one, other in zip(live, anchored, strict=True)
        ]
    return list(live if reward_from == "live" else anchored)


def _mean_probability(scores: Sequence[Score]) -> float:
    known = torch.tensor([score for score in scores if score is not None])
    return float(torch.sigmoid(known).mean())

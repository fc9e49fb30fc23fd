"""Proximal policy optimisation against a frozen scorer."""

from collections.abc import Sequence
from typing import Any, Literal

from trainer.recipe import Run
from trainer.recipes.encoding import training_device
from trainer.recipes.playing import Game, RoundReport, play_rounds
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.publishing import summary
from trainer.recipes.reading import read_prompts
from trainer.recipes.response_scores import (
    AnyReward,
    ProductWorldReward,
    ResponseScores,
    mean_of,
    open_reward,
    score_rollouts,
)
from trainer.recipes.rounds import Judges, PromptRounds, RoundsRecipe, greedy_responses
from trainer.rollouts import Between, PolicyPrompt, encode_prompts


class PPO(RoundsRecipe):
    """Move a policy by PPO towards a scorer that stays as it is; publishes the policy."""

    kind: Literal["ppo"]
    reward_model: AnyReward
    """What is optimised: a published scorer, or the product world's checker."""

    def run(self, run: Run) -> dict[str, Any]:
        self.check_one_process()
        rows, held_out = read_prompts(self.data, run)
        reward, artifact = open_reward(self.reward_model, run, training_device())
        learner, origin = self.open_learner(rows, self.rounds, run)
        prompts = PromptRounds(learner.policy, [row.prompt for row in rows], self.ppo, self.seed)
        measured = encode_prompts(
            learner.policy,
            [row.prompt for row in held_out[: self.evaluation.prompts]],
            self.ppo.max_response_tokens,
        )
        optimised = self.reward_model.measure if isinstance(self.reward_model, ProductWorldReward) else None
        game = FrozenReward(learner, prompts, measured, reward, Judges(self.data, optimised), self)
        played = play_rounds(game, self, run)
        parents = [] if artifact is None else [artifact.as_parent("reward_model")]
        said = learner.sample(measured, self.rounds) if measured else []
        published = self.publish_policy(
            learner, origin, prompts, said, rows, played.metrics, played.facts, parents, run
        )
        return summary({"policy": published}, played.metrics, played.rounds) | {"stopped_early": played.reason}


class FrozenReward(Game):
    """Rounds of: sample, score, one PPO pass."""

    def __init__(
        self,
        learner: PPOLearner,
        prompts: PromptRounds,
        held_out: Sequence[PolicyPrompt],
        reward: ResponseScores,
        judges: Judges,
        recipe: PPO,
    ) -> None:
        self.learner = learner
        self._prompts = prompts
        self._held_out = held_out
        self._reward = reward
        self._judges = judges
        self._recipe = recipe

    def play(self, number: int, between: Between) -> RoundReport:
        rollouts = self.learner.sample(self._prompts.of_pass(number), number, between)
        between("scores")
        scores = score_rollouts(self._reward, rollouts)
        judged = self._judges.means(rollouts)
        warming_up = number < self._recipe.ppo.value.warmup_rounds
        metrics = self.learner.learn(rollouts, scores, number, critic_only=warming_up, between=between)
        return RoundReport({**metrics, **judged}, mean_of(scores), self._judges.trusted(judged))

    def evaluate(self) -> dict[str, float]:
        if not self._held_out:
            return {}
        responses = greedy_responses(self.learner, self._held_out)
        scores = self._reward([each.prompt.prompt for each in responses], [each.response for each in responses])
        judged = self._judges.means(responses)
        return {"held_out/scores": mean_of(scores), **{f"held_out/{name}": value for name, value in judged.items()}}

    def state(self) -> dict[str, Any]:
        return self.learner.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.learner.restore(state)

"""What the policy-gradient recipes share: settings, prompts, judges, a learner, and publishing its policy."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from trainer.batches import BatchPlan
from trainer.data.product_world.reading import Measure
from trainer.data.rows import Pair, Preference
from trainer.data.sources import AnySource, ProductWorldData
from trainer.data.text import Prompt
from trainer.errors import InvalidInput
from trainer.manifest import Artifact, Parent
from trainer.models.loading import make_probes
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.reference import AdaptersOffPolicy
from trainer.models.starting_point import TrainedPolicy
from trainer.models.validation import HeldOut, validate
from trainer.processes import this_process
from trainer.recipe import Model, Run
from trainer.recipes.encoding import training_device
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.ppo_settings import PPOSettings
from trainer.recipes.publishing import PublishingRecipe
from trainer.recipes.reference_artifact import publish_reference
from trainer.recipes.response_scores import CheckerScores, ResponseScores, mean_of
from trainer.recipes.reward_hacking import EarlyStop
from trainer.rollouts import PolicyPrompt, Rollout, encode_prompts, sample_rollouts
from trainer.schedule import OptimizerSettings

_MEASURES: tuple[Measure, ...] = ("gold", "satisfied")
_EVALUATION_DRAW = -1
"""Greedy responses meet no noise."""


class RoundCheckpoints(Model):
    """How often a resumable state is written. A killed run plays the rounds since then again, to the same end."""

    every_rounds: int = Field(1, ge=1)


class EvaluationSettings(Model):
    """How greedy responses to held-out prompts are judged on the way, and once more at the end."""

    every_rounds: int = Field(10, ge=1)
    prompts: int = Field(64, ge=0)
    """The first so many; 0: none."""


class RoundsRecipe(PublishingRecipe):
    """Base of recipes that move a policy by PPO in rounds of sampling, scoring and learning, in one process."""

    policy: TrainedPolicy
    data: AnySource
    """Its prompts are what the policy answers."""
    rounds: int = Field(50, ge=1)
    optimizer: OptimizerSettings = OptimizerSettings()
    """Of the policy; the critic has its own learning rate."""
    ppo: PPOSettings = PPOSettings()
    checkpoint: RoundCheckpoints = RoundCheckpoints()
    evaluation: EvaluationSettings = EvaluationSettings()
    early_stop: EarlyStop | None = EarlyStop()
    """End the run when its reward is being hacked; null: play all rounds whatever happens."""

    def check_one_process(self) -> None:
        """Raises InvalidInput where several processes would train the same policy unknown to each other."""
        if self.launch.processes > 1 or this_process().num_processes > 1:
            raise InvalidInput(
                f"{self.name}: PPO and GAPO train in one process; set launch.processes to 1 and, for a large policy,"
                " policy.lora and policy.dtype bfloat16",
                pointer="/launch/processes",
            )

    def open_learner(self, rows: Sequence[Pair | Preference], passes: int, run: Run) -> tuple[PPOLearner, Artifact]:
        """The policy with its critic, and the artifact it starts from, which is published if it was none."""
        run.artifacts.check_writable()
        policy, origin = self.policy.settled(run).open(run.artifacts, self.seed)
        policy.model.to(training_device())
        policy.model.eval()
        if origin is None:
            # its probes need a response, which prompts alone do not have
            shown = [Pair(row.prompt, row.response or ".") if isinstance(row, Pair) else row for row in rows]
            origin = publish_reference(self, policy, shown, run)
        reference: Policy
        if self.policy.lora is not None:
            reference = AdaptersOffPolicy(policy)
        else:
            reference = Policy.load(origin.path, dtype=self.policy.compute_dtype)
            reference.model.to(policy.device).requires_grad_(False)
        learner = PPOLearner(
            policy,
            reference,
            self.ppo,
            self.optimizer,
            passes=passes,
            seed=self.seed,
            compute_dtype=self.policy.compute_dtype,
        )
        return learner, origin

    def publish_policy(
        self,
        learner: PPOLearner,
        origin: Artifact,
        prompts: "PromptRounds",
        said: Sequence[Rollout],
        rows: Sequence[Pair | Preference],
        metrics: dict[str, float],
        details: dict[str, Any],
        parents: Sequence[Parent],
        run: Run,
    ) -> Artifact:
        """Publish with the implicit reward against the initial policy, at the KL coefficient as its beta.

        ``said`` are its own responses to held-out prompts: such as it was trained on, and what it is going to score.
        """
        policy = learner.policy
        beta = self.ppo.kl.coefficient or 1.0
        # in full precision, as whoever loads what is published is going to have it
        initial = learner.reference if self.policy.lora is not None else Policy.load(origin.path)
        initial.model.to(policy.device)
        scorer = PolicyScorer(policy, initial, beta)
        probes = make_probes(scorer, _probe_pairs(greedy_responses(learner, prompts.prompts[:16])))
        answered = [(each.prompt.prompt, each.response) for each in said if each.response.strip()]
        return self.publish(
            run,
            self.name,
            "policy",
            policy.save,
            rows=rows,
            metrics=metrics,
            details={**policy.details(), "beta": beta, **details},
            probes=probes,
            parents=[origin.as_parent("reference"), *parents],
            validation=validate(scorer, [HeldOut(Pair(*each), each[0]) for each in answered], self.seed),
        )


def _probe_pairs(responses: Sequence[Rollout]) -> list[Pair]:
    """Pairs to recognise the policy by, some of them its own; an empty response is no pair."""
    return [Pair(each.prompt.prompt, text) for each in responses for text in (each.response, ".") if text.strip()]


class PromptRounds:
    """Which prompts each pass answers: all of them in random order, epoch after epoch."""

    def __init__(self, policy: Policy, prompts: Sequence[Prompt], settings: PPOSettings, seed: int) -> None:
        # the same prompt may stand in several rows
        different = list({repr(prompt): prompt for prompt in prompts}.values())
        self.prompts = encode_prompts(policy, different, settings.max_response_tokens)
        # not by length: a round of easy prompts would look like progress
        self._plan = BatchPlan([1] * len(self.prompts), settings.prompts, seed)

    def of_pass(self, number: int) -> list[PolicyPrompt]:
        return [self.prompts[index] for index in self._plan[number]]


class Judges:
    """Whoever is asked about responses without being optimised, by name."""

    def __init__(self, data: AnySource, optimised: Measure | None = None) -> None:
        """The product world's checker judges its own prompts, but for what is optimised itself."""
        self.of: dict[str, ResponseScores] = {}
        if isinstance(data, ProductWorldData):
            self.of = {f"oracle/{measure}": CheckerScores(measure) for measure in _MEASURES}
        self._trusted = [] if optimised else list(self.of)[:1]

    def means(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """The mean judgement of each."""
        prompts, responses = [each.prompt.prompt for each in rollouts], [each.response for each in rollouts]
        return {name: mean_of(judge(prompts, responses)) for name, judge in self.of.items()}

    def trusted(self, means: dict[str, float]) -> dict[str, float]:
        """Those of ``means`` that can tell whether the reward is hacked."""
        return {name: means[name] for name in self._trusted}


def greedy_responses(learner: PPOLearner, prompts: Sequence[PolicyPrompt]) -> list[Rollout]:
    """The most probable token at every step, for evaluation."""
    return sample_rollouts(
        learner.policy,
        prompts,
        seed=learner.seed,
        draw=_EVALUATION_DRAW,
        max_response_tokens=learner.settings.max_response_tokens,
        temperature=0.0,
    )

"""Offline preference optimisation, and GANPO: the same with a latent-space adversarial regulariser."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

from trainer.adversarial.state import Adversarial, AdversarialState
from trainer.artifacts import Artifact
from trainer.data.rows import Preference
from trainer.models.loading import make_probes
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.starting_point import TrainedPolicy
from trainer.objectives import DPO, PreferenceObjective
from trainer.recipe import Run
from trainer.recipes.discriminator_artifact import publish_discriminators
from trainer.recipes.encoding import encode_preferences, training_device
from trainer.recipes.preference_learner import PreferenceLearner
from trainer.recipes.reading import read_preferences
from trainer.recipes.training import TrainingRecipe


class PreferenceRecipe(TrainingRecipe):
    """Optimise a preference objective from a frozen reference; publishes the policy."""

    kind: Literal["preference"]
    policy: TrainedPolicy
    objective: PreferenceObjective = DPO()

    def run(self, run: Run) -> dict[str, Any]:
        return _train(self, None, run)


class GANPO(TrainingRecipe):
    """A preference objective plus lambda L_adv (arXiv 2601.22083, eqs. 7 and 18-20).

    Publishes the policy and, as ``NAME/discriminator``, the two discriminators on the reference's features.
    """

    kind: Literal["ganpo"]
    policy: TrainedPolicy
    objective: PreferenceObjective = DPO()
    adversarial: Adversarial = Adversarial()

    def run(self, run: Run) -> dict[str, Any]:
        return _train(self, self.adversarial, run)


def _train(recipe: PreferenceRecipe | GANPO, adversarial: Adversarial | None, run: Run) -> dict[str, Any]:
    rows, held_out = read_preferences(recipe.data, run)
    policy, parent = recipe.policy.settled(run).open(run.artifacts, recipe.seed)
    policy.model.to(training_device())
    reference = Policy(copy.deepcopy(policy.model).eval().requires_grad_(False), policy.tokenizer)
    origin = parent or _publish_reference(recipe, reference, rows, run)
    state = None
    if adversarial is not None:
        state = AdversarialState(adversarial, int(policy.model.config.hidden_size), recipe.seed).to(policy.device)
    learner = PreferenceLearner(policy, reference, recipe.objective, state)
    encoded = encode_preferences(policy, rows, recipe.data, run)
    steps = recipe.train(learner, encoded, [row.tokens for row in encoded], run)
    policy.model.eval()
    metrics = learner.evaluate(encode_preferences(policy, held_out, recipe.data, run)) if held_out else {}
    probes = [row.sides[0] for row in held_out or rows]
    beta = recipe.objective.beta
    artifacts = {
        "policy": recipe.publish(
            run,
            recipe.name,
            "policy",
            policy.save,
            rows=rows,
            metrics=metrics,
            details={"max_tokens": policy.max_tokens, "template_hash": policy.format.template_hash, "beta": beta},
            probes=make_probes(PolicyScorer(policy, reference, beta), probes),
            parents=[origin.as_parent("reference")],
        )
    }
    if state is not None:
        artifacts["discriminator"] = publish_discriminators(recipe, state, reference, origin, rows, held_out, run)
    return recipe.finish(run, artifacts, metrics, steps)


def _publish_reference(
    recipe: PreferenceRecipe | GANPO, reference: Policy, rows: Sequence[Preference], run: Run
) -> Artifact:
    """A policy that came from a directory becomes an artifact, so that what is trained on it can name it."""
    return recipe.publish(
        run,
        f"{recipe.name}/reference",
        "policy",
        reference.save,
        rows=rows,
        metrics={},
        details={"max_tokens": reference.max_tokens, "template_hash": reference.format.template_hash},
        probes=make_probes(PolicyScorer(reference), [row.sides[0] for row in rows]),
        parents=[],
    )

"""Offline preference optimisation, and GANPO: the same with a latent-space adversarial regulariser."""

from collections.abc import Sequence
from typing import Any, Literal

from trainer.adversarial.construction import build_regulariser
from trainer.adversarial.settings import Adversarial
from trainer.adversarial.state import AdversarialState
from trainer.checkpoints import REFERENCE
from trainer.data.rows import Preference
from trainer.manifest import Artifact
from trainer.models.latents import MaskChoice
from trainer.models.loading import make_probes
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.precomputed_reference import PrecomputedReference
from trainer.models.reference import AdaptersOff, AdaptersOffPolicy, FrozenCopy, Reference
from trainer.models.shared_prompts import check_sharing
from trainer.models.starting_point import TrainedPolicy
from trainer.objectives import DPO, PreferenceObjective
from trainer.recipe import DataPart, Run
from trainer.recipes.discriminator_artifact import publish_discriminators
from trainer.recipes.encoding import EncodedPreference, encode_preferences, training_device
from trainer.recipes.preference_learner import PreferenceLearner
from trainer.recipes.publishing import summary
from trainer.recipes.reading import read_preferences
from trainer.recipes.reference_artifact import publish_reference
from trainer.recipes.training import TrainingRecipe
from trainer.recipes.validation import validation_of


class PreferenceTraining(TrainingRecipe):
    """What ``preference`` and ``ganpo`` share."""

    policy: TrainedPolicy
    objective: PreferenceObjective = DPO()
    reference: Literal["auto", "copy", "precomputed"] = "auto"
    """How the initial policy is kept for comparison, where anything compares with it. ``copy``: a second set of
    weights, in ``policy.dtype``. ``auto``: the same, but a LoRA policy switches its adapters off instead.
    ``precomputed``: computed before training into files of the run directory (the run says how large they are; GANPO's
    latents are hidden_size numbers per token), so that no second model is in memory and no second forward in a step."""
    share_prompts: bool = False
    """Read each pair's prompt once for both responses: the same but for rounding, and the longer prompts are the less
    time and memory a step takes. For architectures of causal attention with positions of their own."""


class PreferenceRecipe(PreferenceTraining):
    """Optimise a preference objective from a frozen reference; publishes the policy."""

    kind: Literal["preference"]

    def run(self, run: Run) -> dict[str, Any]:
        return _train(self, None, run)


class GANPO(PreferenceTraining):
    """A preference objective plus lambda L_adv (arXiv 2601.22083, eqs. 7 and 18-20).

    Publishes the policy and, as ``NAME/discriminator``, the two discriminators on the reference's features.
    """

    kind: Literal["ganpo"]
    adversarial: Adversarial = Adversarial()

    def run(self, run: Run) -> dict[str, Any]:
        return _train(self, self.adversarial, run)


def _train(recipe: PreferenceTraining, adversarial: Adversarial | None, run: Run) -> dict[str, Any]:
    rows, held_out = read_preferences(recipe.data, run)
    policy, parent = recipe.policy.settled(run).open(run.artifacts, recipe.seed)
    policy.model.to(training_device())
    encoded = _encode(recipe, policy, rows, "training", run)
    measured = _encode(recipe, policy, held_out, "held_out", run)
    compares = recipe.objective.needs_reference_logps or adversarial is not None
    origin = publish_reference(recipe, policy, rows, run) if parent is None and compares else parent
    state = None
    if adversarial is not None:
        state = build_regulariser(adversarial, int(policy.model.config.hidden_size), recipe.seed).to(policy.device)
    if recipe.share_prompts:
        check_sharing(policy.model, max(row.tokens for row in encoded))
    learner = PreferenceLearner(policy, None, recipe.objective, state, share_prompts=recipe.share_prompts)
    if compares:
        mask = None if adversarial is None else adversarial.mask
        learner.compare_with(make_reference(recipe, policy, encoded, measured, mask, run))
    steps = recipe.train(learner, encoded, [row.tokens for row in encoded], run)
    policy.model.eval()
    metrics = learner.evaluate(measured) if measured else {}
    learner.reference = None  # what follows scores as whoever loads the artifacts will
    initial = _open_reference(recipe, policy, origin) if compares and origin is not None else None
    artifacts = {"policy": _publish_policy(recipe, policy, initial, origin, held_out, measured, rows, metrics, run)}
    if isinstance(state, AdversarialState):
        assert initial is not None
        assert origin is not None
        artifacts["discriminator"], found = publish_discriminators(
            recipe,
            f"{recipe.name}/discriminator",
            state.networks,
            state.architecture,
            state.config.mask,
            reference=initial,
            origin=origin,
            played=(policy, artifacts["policy"]),
            rows=rows,
            held_out=held_out,
            run=run,
        )
        metrics = metrics | {f"discriminator/{name}": value for name, value in found.items()}
    return summary(artifacts, metrics, steps)


def _encode(
    recipe: PreferenceTraining, policy: Policy, rows: Sequence[Preference], part: DataPart, run: Run
) -> list[EncodedPreference]:
    if not rows:
        return []
    objective = recipe.objective
    return encode_preferences(
        policy, rows, recipe.data, run, part, paired=objective.pairwise, mismatched=objective.needs_mismatched
    )


def make_reference(
    recipe: PreferenceTraining,
    policy: Policy,
    encoded: Sequence[EncodedPreference],
    held_out: Sequence[EncodedPreference],
    mask: MaskChoice | None,
    run: Run,
) -> Reference:
    """What training compares with, from a policy that has not moved yet. Raises as ``PrecomputedReference.fill``."""
    dtype = recipe.policy.compute_dtype
    live: Reference
    if recipe.policy.lora is not None and recipe.reference != "copy":
        live = AdaptersOff(policy)
    else:
        live = FrozenCopy(policy, dtype)
    if recipe.reference != "precomputed":
        return live
    sides = [side for row in encoded for side in row.sides]
    others = [side for row in held_out for side in row.sides]
    others += [row.mismatched for row in [*encoded, *held_out] if row.mismatched is not None]
    stored = PrecomputedReference(
        run.directory / REFERENCE,
        policy,
        logps_of=[*sides, *others] if recipe.objective.needs_reference_logps else [],
        latents_of=sides if mask else [],
        mask=mask,
        dtype=dtype,
    )
    stored.fill(live, run)
    return stored


def _open_reference(recipe: PreferenceTraining, policy: Policy, origin: Artifact) -> Policy:
    """The initial policy in full precision, as whoever loads what is published is going to have it."""
    if recipe.policy.lora is not None:
        return AdaptersOffPolicy(policy)
    reference = Policy.load(origin.path)
    reference.model.to(policy.device)
    return reference


def _publish_policy(
    recipe: PreferenceTraining,
    policy: Policy,
    initial: Policy | None,
    origin: Artifact | None,
    held_out: Sequence[Preference],
    measured: Sequence[EncodedPreference],
    rows: Sequence[Preference],
    metrics: dict[str, float],
    run: Run,
) -> Artifact:
    """Publish with the implicit reward where the objective has it: SimPO and ORPO reward log-probability per token,
    which every policy scores, and their policies name what they were made from without being compared with it."""
    details = policy.details()
    scorer, role = PolicyScorer(policy), "initial"
    if recipe.objective.needs_reference_logps:
        details["beta"] = recipe.objective.beta
        scorer, role = PolicyScorer(policy, initial, recipe.objective.beta), "reference"
    return recipe.publish(
        run,
        recipe.name,
        "policy",
        policy.save,
        rows=rows,
        metrics=metrics,
        details=details,
        probes=make_probes(scorer, [row.sides[0] for row in held_out or rows]),
        parents=[] if origin is None else [origin.as_parent(role)],
        validation=validation_of(scorer, measured, {}, recipe.seed),
    )

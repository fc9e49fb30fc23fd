"""Check a recipe without running it: its data, how many steps it takes, and the memory it needs on each GPU.

Neither weights nor a network are needed and nothing is written. Files are really read. What cannot be known here, such
as the size of a data set that is on a hub and not among those ``trainer.data.known`` describes, is said in so many
words.
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from trainer.adversarial.settings import Adversarial
from trainer.artifacts import ArtifactStore
from trainer.batches import BatchPlan
from trainer.dry_run.data import DataReport, check_data, prompt_of
from trainer.dry_run.memory import MemoryPlan, Passes, estimate_memory
from trainer.dry_run.rounds import (
    RoundsMemory,
    RoundsReport,
    describe_rounds,
    estimate_rounds,
    find_scorer,
    policy_passes,
)
from trainer.loop import Schedule
from trainer.models.footprint import measure_held
from trainer.models.lora import add_adapters
from trainer.models.reward_model import longest_input
from trainer.models.starting_point import BackboneOrigin, TrainedPolicy
from trainer.recipe import Model, Recipe
from trainer.recipes.adversarial_batches import counts
from trainer.recipes.gapo import GAPO
from trainer.recipes.preference import GANPO, PreferenceTraining
from trainer.recipes.reward_model import RewardModelRecipe
from trainer.recipes.rounds import RoundsRecipe
from trainer.recipes.sft import SFT
from trainer.recipes.training import TrainingRecipe


class NetworkReport(Model):
    """The network whose weights move."""

    origin: str
    architecture: str
    parameters: int
    """Adapters included."""
    trained: int


class DryRun(Model):
    """What a recipe would do."""

    kind: str
    name: str
    recipe_digest: str
    data: DataReport | None = None
    steps: int | None = None
    batch_size: int | None = None
    rows_per_pass: int | None = None
    """On each process."""
    tokens_per_row: int | None = None
    """At most, prompt and response of one side together."""
    network: NetworkReport | None = None
    memory: tuple[MemoryPlan, ...] = ()
    rounds: RoundsReport | None = None
    """Of PPO and GAPO, which have these in place of steps."""
    rounds_memory: RoundsMemory | None = None
    unchecked: tuple[str, ...] = ()
    """What could not be known here, a sentence each."""


def dry_run(recipe: Recipe, store: ArtifactStore) -> DryRun:
    """Check ``recipe`` as far as can be done here.

    Raises InvalidInput naming file, line and field of a bad row, or a field of the recipe; NotFound for an artifact or
    directory that is not there.
    """
    report = DryRun(kind=getattr(recipe, "kind", ""), name=recipe.name, recipe_digest=recipe.digest())
    if isinstance(recipe, RoundsRecipe):
        return report.model_copy(update=_check_rounds(recipe, store))
    if not isinstance(recipe, TrainingRecipe):
        return report.model_copy(update={"unchecked": (f"data, steps and memory of kind {report.kind}",)})
    data, unchecked, _ = check_data(recipe)
    found: dict[str, object] = {
        "data": data,
        "steps": _steps(recipe, data.rows),
        "batch_size": recipe.batch.size,
        "rows_per_pass": _rows_per_pass(recipe),
        "tokens_per_row": recipe.data.longest[1],
    }
    if isinstance(recipe, SFT | PreferenceTraining | RewardModelRecipe):
        origin = _origin(recipe)
        config = origin.shape(store)
        if config is None:
            unchecked.append(_unknown_shape(origin))
        else:
            passes = _passes(recipe, config)
            found["network"], found["memory"] = _describe(origin, passes), tuple(estimate_memory(passes))
    else:
        unchecked.append(f"memory: no estimate for kind {report.kind}")
    return report.model_copy(update={**found, "unchecked": tuple(unchecked)})


def memory_needed(recipe: Recipe, store: ArtifactStore) -> int | None:
    """Bytes that each process certainly needs where nothing is sharded: weights, gradients and moments of the network
    that is trained. What a pass keeps comes on top, and is less than a dry run says wherever texts are shorter.

    None of what is not estimated, or of a network whose shape is not known here. Raises as ``dry_run`` for what is not
    there; reads no rows.
    """
    if isinstance(recipe, RoundsRecipe):
        config = recipe.policy.shape(store)
        return None if config is None else measure_held(config, policy_passes(recipe, config).build)
    if isinstance(recipe, SFT | PreferenceTraining | RewardModelRecipe):
        config = _origin(recipe).shape(store)
        return None if config is None else measure_held(config, _network(recipe))
    return None


def _origin(recipe: SFT | PreferenceTraining | RewardModelRecipe) -> TrainedPolicy | BackboneOrigin:
    return recipe.backbone if isinstance(recipe, RewardModelRecipe) else recipe.policy


def _rows_per_pass(recipe: TrainingRecipe) -> int:
    return min(recipe.batch.micro or recipe.batch.size, math.ceil(recipe.batch.size / recipe.launch.processes))


def _steps(recipe: TrainingRecipe, rows: int | None) -> int | None:
    if rows is None:
        return recipe.max_steps
    plan = BatchPlan(range(rows), recipe.batch.size, recipe.seed)
    return Schedule(epochs=recipe.epochs, max_steps=recipe.max_steps).steps(plan.steps_per_epoch)


def _check_rounds(recipe: RoundsRecipe, store: ArtifactStore) -> dict[str, object]:
    """What there is to say of rounds in place of steps."""
    recipe.check_one_process()
    if isinstance(recipe, GAPO):
        counts(recipe.reward_model.batch.size, recipe.reward_model.accepted_share, recipe.generated_share)
    data, unchecked, rows = check_data(recipe)
    prompts = None if rows is None else [prompt_of(row) for row in rows]
    scorer, unknown = find_scorer(recipe, store)
    unchecked += [] if unknown is None else [unknown]
    found: dict[str, object] = {"data": data, "rounds": describe_rounds(recipe, prompts, data.rows)}
    config = recipe.policy.shape(store)
    if config is None:
        unchecked.append(_unknown_shape(recipe.policy))
    else:
        passes = policy_passes(recipe, config)
        found |= {"rows_per_pass": passes.rows, "tokens_per_row": passes.tokens}
        found["network"] = _describe(recipe.policy, passes)
        found["rounds_memory"] = estimate_rounds(recipe, passes, scorer)
    return {**found, "unchecked": tuple(unchecked)}


def _network(recipe: SFT | PreferenceTraining | RewardModelRecipe) -> Callable[[PretrainedConfig], PreTrainedModel]:
    """What makes the network that is trained."""

    def build(shape: PretrainedConfig) -> PreTrainedModel:
        if isinstance(recipe, RewardModelRecipe):
            return cast(PreTrainedModel, AutoModelForSequenceClassification.from_config(shape))
        model = cast(PreTrainedModel, AutoModelForCausalLM.from_config(shape))
        if recipe.policy.lora is not None:
            add_adapters(model, recipe.policy.lora, recipe.seed)
        return model

    return build


def _passes(recipe: SFT | PreferenceTraining | RewardModelRecipe, config: PretrainedConfig) -> Passes:
    """What one step computes on one process."""
    rows = _rows_per_pass(recipe)
    response, tokens = recipe.data.longest
    adversarial: Adversarial | None = recipe.adversarial if isinstance(recipe, GANPO) else None
    lora = None if isinstance(recipe, RewardModelRecipe) else recipe.policy.lora
    compares = isinstance(recipe, PreferenceTraining) and (
        recipe.objective.needs_reference_logps or adversarial is not None
    )
    copied = isinstance(recipe, PreferenceTraining) and (
        recipe.reference == "copy" or (recipe.reference == "auto" and lora is None)
    )
    build = _network(recipe)
    window: int = getattr(config, "max_position_embeddings", tokens)
    global_tokens = 1
    if isinstance(recipe, RewardModelRecipe):
        with torch.device("meta"):
            window = longest_input(build(config), recipe.backbone.max_tokens)
        global_tokens = min(recipe.data.max_prompt_tokens, window)
    return Passes(
        config=config,
        build=build,
        rows=rows if isinstance(recipe, SFT) else 2 * rows,
        tokens=min(tokens, window),
        response_tokens=min(response, window),
        compute_dtype=recipe.compute_dtype,
        predicts=not isinstance(recipe, RewardModelRecipe),
        copied_reference=compares and copied,
        adversarial=adversarial,
        recomputes=recipe.gradient_checkpointing,
        accumulates=rows * recipe.launch.processes < recipe.batch.size,
        processes=recipe.launch.processes,
        global_tokens=global_tokens,
    )


def _describe(origin: TrainedPolicy | BackboneOrigin, passes: Passes) -> NetworkReport:
    return NetworkReport(
        origin=origin.path or "from random weights",
        architecture=passes.config.model_type,
        parameters=passes.footprint.parameters,
        trained=passes.footprint.trainable,
    )


def _unknown_shape(origin: TrainedPolicy | BackboneOrigin) -> str:
    return (
        f"memory: {origin.path} is no artifact here, and the shape of a hub model of that name is not known"
        " without a connection; give a directory with its config.json"
    )

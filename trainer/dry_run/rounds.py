"""What rounds of PPO or GAPO would do, and the memory they need."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from trainer.artifacts import ArtifactStore
from trainer.batches import BatchPlan
from trainer.data.text import Prompt
from trainer.dry_run.memory import Passes, logits_bytes
from trainer.generation.batches import ROWS_AT_ONCE
from trainer.loop import Schedule
from trainer.models.footprint import Footprint, measure_cache, measure_footprint
from trainer.models.lora import add_adapters
from trainer.models.reward_model import longest_input
from trainer.models.starting_point import BackboneOrigin
from trainer.recipe import Model
from trainer.recipes.gapo import GAPO
from trainer.recipes.ppo import PPO
from trainer.recipes.response_scores import ProductWorldReward
from trainer.recipes.rounds import RoundsRecipe

_SPECIAL_TOKENS = 4
"""Most that an encoder puts around and between its two segments."""


class RoundsReport(Model):
    """How much of what the rounds have. Fewer where they end early."""

    rounds: int
    prompts: int | None
    """Different ones, to be answered in turn; None where the rows cannot be read here."""
    rollouts: int
    """Sampled in each round, at most."""
    response_tokens: int
    """Sampled in each round, at most."""
    policy_updates: int
    """Optimiser steps of the policy over all rounds, at most."""
    reward_model_steps: int
    """Optimiser steps of the live reward model over all rounds; none where it is frozen."""
    warm_up_steps: int | None = None
    """Of the reward model before the rounds, where the recipe trains it and the rows can be counted."""


class RoundsMemory(Model):
    """Bytes on one GPU, every text being as long as the recipe allows.

    Held all the time, with P parameters of which T are trained, in float32 but for what is said:

    - policy: weights, gradients and AdamW's moments, 4 P + 12 T;
    - critic: a head, and for ``trunk: separate`` a second policy, whose output layer is never trained;
    - reference: c P for a frozen copy, c bytes per computed number; nothing for adapters switched off;
    - reward_model: 4 P frozen; live, with gradients and moments, 4 P + 12 T; anchor: 4 P.

    Besides, one after the other: sampling, with weights copied to the computed precision and the keys and values of one
    rollout; learning, what autograd keeps of one micro-batch of policy and critic, the copies, and the logits;
    teaching, what it keeps of one micro-batch of the reward model. The warm-up comes before all that, alone.

    Left out: what ``MemoryEstimate`` leaves out, and scores and values computed without gradients. Measured on the CPU
    with a small Llama, learning and its gradients took 0.75 to 0.88 of what is said here.
    """

    policy: int
    critic: int
    reference: int
    reward_model: int
    anchor: int
    sampling: int
    learning: int
    teaching: int
    warm_up: int
    total: int
    """What is held and the largest of the moments."""
    rollout: int
    """Keys, values and logits of one more rollout decoded at the same time."""
    rollouts_at_once: int
    """So many are decoded at once or, where memory does not suffice, fewer."""


@dataclass(frozen=True)
class Scorer:
    """The reward model that a recipe names."""

    config: PretrainedConfig
    max_tokens: int | None
    """That it is told to read; None: as many as it can."""


def describe_rounds(recipe: RoundsRecipe, prompts: Sequence[Prompt] | None, rows: int | None) -> RoundsReport:
    """Count. ``prompts`` may hold one several times; ``rows`` are what a warm-up learns from. None: not known here."""
    ppo = recipe.ppo
    different = None if prompts is None else len({repr(prompt) for prompt in prompts})
    answered = ppo.prompts if different is None else min(ppo.prompts, different)
    passes = recipe.policy_steps if isinstance(recipe, GAPO) else 1
    rollouts = passes * answered * ppo.responses_per_prompt
    updates = ppo.epochs * math.ceil(answered * ppo.responses_per_prompt / ppo.minibatch)
    return RoundsReport(
        rounds=recipe.rounds,
        prompts=different,
        rollouts=rollouts,
        response_tokens=rollouts * ppo.max_response_tokens,
        policy_updates=recipe.rounds * passes * updates,
        reward_model_steps=recipe.rounds * recipe.reward_model_steps if isinstance(recipe, GAPO) else 0,
        warm_up_steps=_warm_up_steps(recipe, rows) if isinstance(recipe, GAPO) else None,
    )


def _warm_up_steps(recipe: GAPO, rows: int | None) -> int | None:
    warm_up = recipe.reward_model.warm_up
    if warm_up is None:
        return None
    if rows is None:
        return warm_up.max_steps
    plan = BatchPlan(range(rows), warm_up.batch.size, recipe.seed)
    return Schedule(epochs=warm_up.epochs, max_steps=warm_up.max_steps).steps(plan.steps_per_epoch)


def policy_passes(recipe: RoundsRecipe, config: PretrainedConfig) -> Passes:
    """One micro-batch of the policy as PPO differentiates it."""
    ppo, lora = recipe.ppo, recipe.policy.lora
    tokens = min(recipe.data.max_prompt_tokens + ppo.max_response_tokens, config.max_position_embeddings)

    def build(shape: PretrainedConfig) -> PreTrainedModel:
        model = cast(PreTrainedModel, AutoModelForCausalLM.from_config(shape))
        if lora is not None:
            add_adapters(model, lora, recipe.seed)
        return model

    rows = min(ppo.micro or ppo.minibatch, ppo.minibatch, ppo.rollouts)
    return Passes(
        config=config,
        build=build,
        rows=rows,
        tokens=tokens,
        response_tokens=min(ppo.max_response_tokens, tokens),
        compute_dtype=recipe.policy.compute_dtype,
        predicts=True,
        copied_reference=lora is None,
        adversarial=None,
        recomputes=False,
        accumulates=rows < ppo.minibatch,
        processes=1,
    )


def estimate_rounds(recipe: RoundsRecipe, passes: Passes, scorer: Scorer | None) -> RoundsMemory:
    """Where there is no ``scorer``, or none whose shape is known, it counts nothing."""
    network, number = passes.footprint, passes.compute_dtype.itemsize
    kept = network.activations
    hidden, vocabulary = int(passes.config.hidden_size), int(passes.config.vocab_size)
    whole = recipe.ppo.advantages == "gae" and recipe.ppo.value.trunk == "separate"
    unread = not (passes.config.tie_word_embeddings or recipe.policy.lora)  # its output layer is never trained
    trunk = 4 * (network.parameters + network.trainable) + network.optimizer_bytes
    trunk -= (12 * hidden * vocabulary + 4) * unread
    live, anchor, teaching, warm_up = _reward_models(recipe, scorer)
    cache = measure_cache(passes.config, passes.build, tokens=passes.tokens, compute_dtype=passes.compute_dtype)
    rollout = cache + 24 * vocabulary  # logits and probabilities in float32, and twice in float64 to draw from
    held = {
        "policy": 4 * (network.parameters + network.trainable) + network.optimizer_bytes,
        "critic": (trunk if whole else 0) + 16 * (hidden + 1) + 2 * 4,
        "reference": number * network.parameters if passes.copied_reference else 0,
        "reward_model": live,
        "anchor": anchor,
    }
    moments = {
        "sampling": kept.weight_copies + rollout,
        "learning": (2 if whole else 1) * (kept.held(recomputed=False) + kept.weight_copies) + logits_bytes(passes),
        "teaching": teaching,
    }
    return RoundsMemory(
        **held,
        **moments,
        warm_up=warm_up,
        total=max(sum(held.values()) + max(moments.values()), warm_up),
        rollout=rollout,
        rollouts_at_once=min(ROWS_AT_ONCE, recipe.ppo.rollouts),
    )


def _reward_models(recipe: RoundsRecipe, scorer: Scorer | None) -> tuple[int, int, int, int]:
    """Bytes of the live (or only) model, of the anchor, of a pass of the live one, and of the warm-up."""
    if scorer is None:
        return 0, 0, 0, 0
    if not isinstance(recipe, GAPO):
        network = _footprint(recipe, scorer, 1, torch.float32)
        return 4 * network.parameters, 0, 0, 0
    settings = recipe.reward_model
    network = _footprint(recipe, scorer, settings.batch.micro or settings.batch.size, torch.float32)
    anchor = live = 4 * network.parameters
    teaching = 0
    if recipe.reward_model_steps:
        live += 4 * network.trainable + network.optimizer_bytes
        teaching = network.activations.held(recomputed=False)
    if settings.warm_up is None:
        return live, anchor, teaching, 0
    warm_up, dtype = settings.warm_up, settings.warm_up.backbone.compute_dtype
    first = _footprint(recipe, scorer, 2 * (warm_up.batch.micro or warm_up.batch.size), dtype)
    alone = 4 * (first.parameters + first.trainable) + first.optimizer_bytes
    kept = first.activations
    return live, anchor, teaching, alone + kept.held(recomputed=False) + kept.weight_copies


def _footprint(recipe: RoundsRecipe, scorer: Scorer, rows: int, dtype: torch.dtype) -> Footprint:
    """Of the reward model reading ``rows`` texts of the longest prompts, of which every token attends globally."""
    build: Callable[[PretrainedConfig], PreTrainedModel] = AutoModelForSequenceClassification.from_config
    with torch.device("meta"):
        window = longest_input(build(scorer.config), scorer.max_tokens)
    prompt = recipe.data.max_prompt_tokens + _SPECIAL_TOKENS
    response = max(recipe.ppo.max_response_tokens, recipe.data.max_response_tokens)
    return measure_footprint(
        scorer.config,
        build,
        rows=rows,
        tokens=min(prompt + response, window),
        compute_dtype=dtype,
        global_tokens=min(prompt, window),
    )


def find_scorer(recipe: RoundsRecipe, store: ArtifactStore) -> tuple[Scorer | None, str | None]:
    """The reward model and, where its shape is not known, a sentence that says so.

    Raises as ``ArtifactStore.open`` and ``BackboneOrigin.shape``.
    """
    if isinstance(recipe, GAPO) and recipe.reward_model.warm_up is not None:
        backbone = recipe.reward_model.warm_up.backbone
        config = backbone.shape(store)
        if config is None:
            return None, f"memory: the reward model's is left out, for the shape of {backbone.path} is not known here"
        return Scorer(config, backbone.max_tokens), None
    assert isinstance(recipe, GAPO | PPO)
    if isinstance(recipe.reward_model, ProductWorldReward):
        return None, None
    assert recipe.reward_model.path is not None
    name = recipe.reward_model.path.partition(":")[0]
    manifest = store.open(name).manifest
    config = BackboneOrigin(path=name).shape(store) if manifest.kind == "reward_model" else None
    if config is None:
        return None, f"memory: the scorer's is left out, for {name} is a {manifest.kind}"
    return Scorer(config, manifest.details.get("max_tokens")), None

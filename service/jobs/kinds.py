"""Which recipes train and which evaluate, known without importing them: they bring torch."""

import logging
from collections.abc import Callable
from typing import Any

from service.imports import heavy_imports
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, InvalidInput
from trainer.recipe import Recipe

TRAINING_KINDS = ("sft", "preference", "ganpo", "reward_model", "discriminator", "ppo", "gapo")
SEVERAL_PROCESSES = ("sft", "preference", "ganpo", "reward_model", "discriminator")
"""Kinds that several processes can work on together."""
STRESS_KINDS = ("stress_test",)
AUDIT_KINDS = ("audit",)
WIN_RATE_KINDS = ("win_rate",)
BENCHMARK_KINDS = ("benchmark", "downstream")
EVALUATION_KINDS = (*STRESS_KINDS, *AUDIT_KINDS, *WIN_RATE_KINDS, *BENCHMARK_KINDS)

ParseRecipe = Callable[[dict[str, Any]], Recipe]


def parse_any_recipe(content: dict[str, Any]) -> Recipe:
    """The recipe ``content`` describes; imports torch at the first call. Raises InvalidInput with a pointer."""
    with heavy_imports():
        from evaluation.recipes import parse_recipe

    return parse_recipe(content)


def estimate_memory(recipe: Recipe, artifacts: ArtifactStore) -> int | None:
    """Bytes that each process of a training recipe certainly needs; None where nobody knows."""
    if not type(recipe).__module__.startswith("trainer."):
        return None
    from trainer.dry_run.check import memory_needed

    try:
        return memory_needed(recipe, artifacts)
    except AssayError:  # the run will say it, should it still be so
        return None
    except Exception:  # an architecture that a library cannot build; a job must not fail for its estimate
        logging.getLogger(__name__).warning("no estimate of what %s needs", recipe.name, exc_info=True)
        return None


def require_kind(content: dict[str, Any], kinds: tuple[str, ...]) -> None:
    """Raises InvalidInput unless the recipe is of one of ``kinds``."""
    kind = content.get("kind")
    if kind not in kinds:
        found = "is missing" if kind is None else f"{kind!r} is not accepted here{_elsewhere(kind)}"
        raise InvalidInput(f"recipe at /kind: {found}; use {' | '.join(kinds)}", pointer="/kind")


def _elsewhere(kind: object) -> str:
    """Where a known kind does belong."""
    if kind in TRAINING_KINDS:
        return ", but by `assay train` and /v1/training-jobs"
    if kind in STRESS_KINDS:
        return ", but by `assay stress` and /v1/stress-tests"
    if kind in AUDIT_KINDS:
        return ", but by `assay audit` and /v1/audits"
    if kind in WIN_RATE_KINDS:
        return ", but by `assay winrate` and /v1/win-rates"
    if kind in BENCHMARK_KINDS:
        return ", but by `assay benchmark` and /v1/benchmarks"
    return ""


def id_prefix(kind: str) -> str:
    """``run`` for what evaluates, ``job`` for what trains."""
    return "run" if kind in EVALUATION_KINDS else "job"

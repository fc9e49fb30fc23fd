"""Where the API keeps what."""

from typing import Any

from trainer.errors import InvalidInput

SCORES, ATTRIBUTIONS, SCORERS = "/v1/scores", "/v1/attributions", "/v1/scorers"
TRAINING, STRESS_TESTS = "/v1/training-jobs", "/v1/stress-tests"
OTHERS = {
    "audit": "/v1/audits",
    "win_rate": "/v1/win-rates",
    "benchmark": "/v1/benchmarks",
    "downstream": "/v1/benchmarks",
}
"""By kind, of what evaluates and is no stress test."""

_RUN = "run_"
"""How the ids of what evaluates begin."""


def is_run(job_id: str) -> bool:
    """Whether a job evaluates."""
    return job_id.startswith(_RUN)


def path_of(job_id: str) -> str:
    """Ids tell what they are: ``run_...`` evaluates, anything else trains. Raises InvalidInput for no id at all."""
    if not job_id.isascii() or not job_id.replace("_", "").isalnum():
        raise InvalidInput(f"{job_id!r} is not a job's id; `assay jobs list` shows them")
    return f"{STRESS_TESTS if is_run(job_id) else TRAINING}/{job_id}"


def path_for(recipe: dict[str, Any]) -> str:
    """Where a recipe is submitted."""
    return {"stress_test": STRESS_TESTS, **OTHERS}.get(str(recipe.get("kind")), TRAINING)

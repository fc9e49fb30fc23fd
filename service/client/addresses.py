"""Where the API keeps what."""

from typing import Any

from trainer.errors import InvalidInput

SCORES, ATTRIBUTIONS, SCORERS = "/v1/scores", "/v1/attributions", "/v1/scorers"
TRAINING, STRESS_TESTS, AUDITS = "/v1/training-jobs", "/v1/stress-tests", "/v1/audits"

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
    return STRESS_TESTS if recipe.get("kind") == "stress_test" else TRAINING

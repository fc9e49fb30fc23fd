"""A line of correlations.jsonl as tests need it: each number easy to know again."""

from typing import Any

from evaluation.statistics.estimate import Estimate


def estimate(scorer: str, temperature: float | None, value: float | None, **fields: Any) -> dict[str, Any]:
    """r within prompts with an interval of 0.1 to either side, undefined where there is no ``value``."""
    return {
        "scorer": scorer,
        "scorer_version": None,
        "policy": "demo/policy",
        "oracle": "judge",
        "statistic": "pearson_within",
        "stratum": "all",
        "temperature": temperature,
        "estimate": value,
        "lower": None if value is None else value - 0.1,
        "upper": None if value is None else value + 0.1,
        "standard_error": None if value is None else 0.05,
        "n_prompts": 2,
        "n_responses": 8,
        "n_dropped": 0,
        "method": "prompt-cluster bootstrap",
        "undefined_reason": "every score is the same" if value is None else None,
        **fields,
    }


def as_estimate(scorer: str, temperature: float | None, value: float | None, **fields: Any) -> Estimate:
    """The same as statistics give it."""
    line = estimate(scorer, temperature, value, **fields)
    return Estimate.model_validate({name: line[name] for name in Estimate.model_fields if name in line})

"""An estimate is a number with an interval, or a reason; never neither."""

from typing import Any

import pytest
from pydantic import ValidationError

from evaluation.statistics.estimate import Estimate

WHOLE: dict[str, Any] = {
    "scorer": "s",
    "oracle": "o",
    "statistic": "pearson_within",
    "estimate": 0.5,
    "lower": 0.4,
    "upper": 0.6,
    "standard_error": 0.05,
    "n_prompts": 10,
    "n_responses": 40,
    "n_dropped": 0,
    "method": "by hand",
}


def test_an_estimate_survives_json() -> None:
    estimate = Estimate(**WHOLE)
    assert Estimate.model_validate_json(estimate.model_dump_json()) == estimate


@pytest.mark.parametrize(
    "change",
    [
        {"estimate": None},
        {"lower": None},
        {"undefined_reason": "constant scores"},
        {"upper": float("nan")},
        {"p": 0.05},
    ],
    ids=["missing without reason", "interval missing without reason", "reason without a gap", "NaN", "unknown field"],
)
def test_a_gap_without_a_reason_and_a_nan_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Estimate(**{**WHOLE, **change})


def test_a_gap_with_a_reason_is_an_answer() -> None:
    gap = dict.fromkeys(["estimate", "lower", "upper", "standard_error"])
    assert Estimate(**{**WHOLE, **gap, "undefined_reason": "every score is 3"}).estimate is None

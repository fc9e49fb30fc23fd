"""A typed condition chooses the estimates it says, and anything else is refused where it stops making sense."""

import pytest

from evaluation.conditions import parse_condition
from evaluation.statistics.estimate import Estimate
from tests.correlation_lines import as_estimate
from trainer.errors import InvalidInput


def estimate(scorer: str, temperature: float | None, lower: float | None = 0.2) -> Estimate:
    if lower is None:
        without = {"lower": None, "upper": None, "standard_error": None, "undefined_reason": "too few"}
        return as_estimate(scorer, temperature, 0.3, **without)
    return as_estimate(scorer, temperature, 0.3, lower=lower)


EVERYTHING = [
    estimate("rm", 1.0).model_copy(update={"n_total": 44, "n_truncated": 2}),
    estimate("rm", 2.0).model_copy(update={"n_total": 44, "n_truncated": 3}),
    estimate("ns/rm@3:chosen", 2.0),
    estimate("rm", None, None),
]


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("temperature>=1.5", [1, 2]),
        ("temperature >= 1.5 and scorer == 'rm'", [1]),
        ('scorer = "rm"', [0, 1, 3]),
        ("scorer == ns/rm@3:chosen", [2]),
        ("temperature == null", [3]),
        ("temperature != null", [0, 1, 2]),
        ("temperature < 5", [0, 1, 2]),  # what is missing is not smaller than anything
        ("lower > -1e0", [0, 1, 2]),
        ("not temperature > 1", [0, 3]),
        ("temperature=1 or temperature=2 and scorer!=rm", [0, 2]),  # and binds tighter
        ("(temperature=1 or temperature=2) and scorer!=rm", [2]),
        ("n_prompts == 2 and n_dropped<1", [0, 1, 2, 3]),
        ("n_total = 44 and n_truncated < 3 and n_constant_prompts == null", [0]),
        ("n_truncated >= 3", [1]),
    ],
)
def test_a_condition_chooses_what_it_says(condition: str, chosen: list[int]) -> None:
    holds = parse_condition(condition)
    assert [index for index, each in enumerate(EVERYTHING) if holds(each)] == chosen


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ("temprature>1", "at character 1: no field 'temprature'; use one of scorer"),
        ("temperature", "at its end: expected a comparison such as temperature"),
        ("temperature>", "at its end: expected a value for temperature"),
        ("temperature > hot", "at character 15: temperature is a number"),
        ("scorer > 'rm'", "at character 10: scorer > needs a number"),
        ("temperature > null", "at character 15: temperature > needs a number"),
        ("temperature > 1 2", "at character 17: expected 'and', 'or' or the end"),
        ("(temperature > 1", "at its end: expected ')'"),
        ("temperature > 1 and", "at its end: expected one of scorer"),
        ("__import__('os').system('true')", "at character 1: no field '__import__'"),
        ("scorer == 'rm", 'at character 11: "\'" means nothing here'),
        ("temperature > 1 & lower > 0", "'&' means nothing here"),
        ("(" * 1000, "nested more than 50 deep"),
        ("x" * 5000, "at most 2000 characters"),
        ("scorer == )", "at character 11: expected a value"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stops_making_sense(condition: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_condition(condition)
    assert complaint in refused.value.detail

"""A gate passes what is surely above its bound, and never for want of anything to check."""

import pytest

from evaluation.gate import gate
from evaluation.statistics.estimate import Estimate
from tests.correlation_lines import as_estimate
from trainer.errors import InvalidInput


def estimate(scorer: str, lower: float | None, *, stratum: str = "all", temperature: float = 2.0) -> Estimate:
    value = None if lower is None else lower + 0.1
    return as_estimate(scorer, temperature, value, lower=lower, stratum=stratum)


def passes(estimates: list[Estimate], min_lower: float = 0.3) -> list[tuple[str, bool]]:
    checked = gate(estimates, lambda _: True, "pearson_within", min_lower)
    return [(each.estimate.scorer, each.passes) for each in checked]


def test_the_lower_end_decides_and_what_is_undefined_does_not_pass() -> None:
    assert passes([estimate("good", 0.3), estimate("bad", 0.29), estimate("constant", None)]) == [
        ("good", True),
        ("bad", False),
        ("constant", False),
    ]


def test_a_sentence_names_the_statistic_that_was_checked() -> None:
    rate = estimate("model", 0.5).model_copy(update={"statistic": "win_rate"})
    [checked] = gate([rate], lambda _: True, "win_rate", 0.3)
    assert checked.sentence() == "model against judge at T = 2: win rate = 0.60 [0.50, 0.70]"


def test_trivial_controls_and_strata_are_checked_only_where_nothing_else_is_asked_for() -> None:
    rows = [estimate("rm", 0.5), estimate("rm", 0.1, stratum="untruncated"), estimate("length", 0.1)]
    assert passes(rows) == [("rm", True)]
    assert passes([*rows, estimate("d:untrained", -0.2)]) == [("rm", True)]
    assert passes(rows[1:]) == [("length", False)]
    assert passes(rows[1:2]) == [("rm", False)]


def test_nothing_to_check_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(InvalidInput, match="no estimate of 'pearson_within'; there are: none"):
        passes([])
    with pytest.raises(InvalidInput, match="nothing to check"):
        gate([estimate("rm", 0.5)], lambda _: False, "pearson_within", 0.3)
    with pytest.raises(InvalidInput, match="there are: pearson_within"):
        gate([estimate("rm", 0.5)], lambda _: True, "pearson_witin", 0.3)


def test_a_sentence_says_what_was_checked() -> None:
    [checked] = gate([estimate("rm", 0.5)], lambda _: True, "pearson_within", 0.3)
    assert checked.sentence() == "rm against judge at T = 2: r = 0.60 [0.50, 0.70]"


@pytest.mark.parametrize("bound", [float("nan"), float("-inf"), float("inf")])
def test_a_bound_that_is_no_number_is_refused_and_not_compared_with(bound: float) -> None:
    with pytest.raises(InvalidInput, match="is no bound; give a number"):
        passes([estimate("rm", 0.5)], bound)

"""Numbers and statistics as people read them."""

import pytest

from evaluation.wording import chance, interval, label, number


@pytest.mark.parametrize(("value", "text"), [(0.384, "0.38"), (-0.5, "−0.50"), (-0.001, "0.00"), (1, "1.00")])
def test_numbers_have_a_real_minus_and_no_negative_zero(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_names_both_ends() -> None:
    assert interval(-0.1, 0.25) == "[−0.10, 0.25]"


def test_statistics_have_names_and_unknown_ones_keep_theirs() -> None:
    assert label("pearson_within") == "r within prompts"
    assert label("pearson_within_lead_over_length") == "lead over length"
    assert label("of_the_future") == "of_the_future"
    assert (chance("pairwise_accuracy"), chance("pearson_within")) == (0.5, 0.0)

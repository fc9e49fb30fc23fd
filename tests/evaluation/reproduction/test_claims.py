"""The word for a claim follows from its interval alone."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.reproduction.claims import Claim, Expected, examine, judge
from evaluation.reproduction.intervals import Interval
from evaluation.reproduction.measurements import Measurements, Quantity


@pytest.mark.parametrize(
    ("expected", "level", "lower", "upper", "word"),
    [
        ("above", 0.0, 0.01, 0.3, "reproduced"),
        ("above", 0.0, -0.01, 0.3, "not reproduced"),
        ("above", 0.0, -0.3, -0.01, "reversed"),
        ("above", 0.5, 0.4, 0.6, "not reproduced"),
        ("above", 0.5, 0.1, 0.4, "reversed"),
        ("below", 0.0, -0.3, -0.01, "reproduced"),
        ("below", 0.0, -0.3, 0.01, "not reproduced"),
        ("below", 0.0, 0.01, 0.3, "reversed"),
        ("within", 0.02, -0.01, 0.01, "reproduced"),
        ("within", 0.02, -0.03, 0.01, "not reproduced"),
        ("within", 0.02, 0.03, 0.05, "reversed"),
        ("within", 0.02, -0.05, -0.03, "reversed"),
    ],
)
def test_the_word_for_an_interval(expected: Expected, level: float, lower: float, upper: float, word: str) -> None:
    assert judge(Interval((lower + upper) / 2, lower, upper), expected, level) == word


def claim(*rivals: str) -> Claim:
    ours = Quantity("a", "gold", (1.0,))
    contrasts = {rival: ((1.0, ours), (-1.0, Quantity(rival, "gold", (1.0,)))) for rival in rivals}
    return Claim("key", "a is better", "Table 0", contrasts)


def measured(**gold: list[float]) -> Measurements:
    return Measurements(
        {(seed, name, "gold", 1.0): value for name, values in gold.items() for seed, value in enumerate(values)}
    )


def test_what_seeds_share_cancels_before_the_interval_is_formed() -> None:
    # seeds differ by 0.4, the arms within a seed by 0.01 and 0.03
    finding = examine(claim("b"), measured(a=[0.11, 0.53, 0.92], b=[0.10, 0.50, 0.90]))
    assert finding.per_seed == pytest.approx((0.01, 0.03, 0.02))
    assert finding.interval is not None
    assert finding.interval.estimate == pytest.approx(0.02)
    assert finding.interval.upper == pytest.approx(0.02 + 4.3027 * 0.01 / 3**0.5, abs=1e-5)


def test_beating_every_rival_is_tested_against_the_strongest() -> None:
    finding = examine(claim("weak", "strong"), measured(a=[0.5, 0.52], weak=[0.1, 0.12], strong=[0.49, 0.52]))
    assert finding.rival == "strong"
    assert finding.word == "not reproduced"


def test_a_reversal_speaks_before_a_rival_whose_wide_interval_reaches_further_off() -> None:
    # a minus b: -0.02 in both seeds; a minus c: 0.1 and -0.1, so 0 give or take 12.7 * 0.1
    both = measured(a=[0.5, 0.5], b=[0.52, 0.52], c=[0.4, 0.6])
    finding = examine(claim("b", "c"), both)
    assert (finding.rival, finding.word) == ("b", "reversed")
    assert examine(claim("c", "b"), both) == replace(finding, claim=claim("c", "b"))
    assert examine(claim("c"), both).word == "not reproduced"


def test_a_reversal_speaks_before_a_rival_that_was_not_measured() -> None:
    finding = examine(claim("b", "c"), measured(a=[0.5, 0.5], b=[0.52, 0.52], c=[0.4]))
    assert (finding.rival, finding.word, finding.undefined_reason) == ("b", "reversed", None)


def test_of_several_reversals_the_one_furthest_off_speaks() -> None:
    finding = examine(claim("b", "c"), measured(a=[0.5, 0.5], b=[0.52, 0.52], c=[0.6, 0.6]))
    assert (finding.rival, finding.word) == ("c", "reversed")


def test_a_quantity_that_a_seed_lacks_leaves_the_claim_untested_and_says_so() -> None:
    finding = examine(claim("b"), measured(a=[0.5, 0.6], b=[0.1]))
    assert finding.interval is None
    assert finding.word == "not reproduced"
    assert finding.undefined_reason == "undefined in 1 of 2 seeds"


def test_a_bound_from_above_is_spoken_for_by_the_rival_that_reaches_highest() -> None:
    below = replace(claim("low", "high"), expected="below")
    finding = examine(below, measured(a=[0.5, 0.52], low=[0.9, 0.92], high=[0.49, 0.52]))
    assert finding.rival == "high"
    assert finding.word == "not reproduced"


def test_a_margin_is_spoken_for_by_the_rival_furthest_off_on_either_side() -> None:
    margin = replace(claim("near", "far"), expected="within", level=0.1)
    for far in (0.1, 0.9):
        finding = examine(margin, measured(a=[0.5, 0.5], near=[0.52, 0.52], far=[far, far]))
        assert (finding.rival, finding.word) == ("far", "reversed")


def drawn(seeds: int, a: list[float], b: list[float]) -> Measurements:
    """Draws of ``a`` and ``b`` that are the same in every seed; the values are their means."""
    places = [(seed, name, "gold", 1.0) for seed in range(seeds) for name in "ab"]
    values = {place: float(np.mean(a if place[1] == "a" else b)) for place in places}
    return Measurements(values, {place: np.array(a if place[1] == "a" else b) for place in places})


def test_of_one_seed_the_word_follows_from_paired_draws_of_its_prompts() -> None:
    # what a draw does to both nearly cancels: the difference is 0.1, 0.1 and 0.08
    finding = examine(claim("b"), drawn(1, [0.1, 0.5, 0.9], [0.0, 0.4, 0.82]))
    assert finding.word == "reproduced"
    assert finding.interval == finding.prompts
    assert finding.interval is not None
    # 2.5 % of two steps between three draws is 0.05 of the first
    assert (finding.interval.lower, finding.interval.upper) == pytest.approx((0.081, 0.1))


def test_of_several_seeds_the_word_follows_from_the_seeds_and_prompts_are_told_beside() -> None:
    finding = examine(claim("b"), drawn(2, [0.0, 1.0], [0.5, 0.5]))
    assert finding.interval is not None
    assert (finding.interval.lower, finding.interval.upper) == (0.0, 0.0)  # both seeds say exactly 0
    assert finding.prompts is not None
    assert finding.prompts.lower < -0.4
    assert finding.prompts.upper > 0.4


def test_one_seed_without_draws_of_its_prompts_is_no_test() -> None:
    finding = examine(claim("b"), measured(a=[0.5], b=[0.1]))
    assert (finding.word, finding.interval) == ("not reproduced", None)
    assert finding.undefined_reason == "one seed, and no interval over its prompts"

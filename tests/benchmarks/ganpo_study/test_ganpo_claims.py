"""Every claim asks for what the study measures."""

import pytest

from benchmarks.ganpo_study.arms import POLICIES, SIZES, TEMPERATURES, prefix, steps_of_seed
from benchmarks.ganpo_study.claims import OURS, PAPER
from benchmarks.ganpo_study.measurements import UNTRAINED
from evaluation.reproduction.claims import examine
from evaluation.reproduction.measurements import Measurements


def test_a_widening_gap_is_the_change_of_one_minus_the_change_of_the_other() -> None:
    [widens] = [each for each in PAPER if each.key == "gap_widens"]
    gold = {"ganpo-transformer": (0.8, 0.6), "dpo": (0.7, 0.4)}  # below and from T = 1: leads of 0.1 and 0.2
    values = {
        (seed, arm, "gold", temperature): hot if temperature >= 1 else cool
        for seed in range(2)
        for arm, (cool, hot) in gold.items()
        for temperature in TEMPERATURES
    }
    finding = examine(widens, Measurements(values))
    assert finding.per_seed == pytest.approx((0.1, 0.1))
    assert finding.word == "reproduced"


def test_every_claim_asks_for_a_policy_that_is_sampled_or_a_scorer_that_judges() -> None:
    [judged] = [step.recipe for step in steps_of_seed(0, SIZES["full"]) if step.recipe.get("scorers")]
    scorers = {name.removeprefix(prefix(0)) for name in judged["scorers"]}
    asked = [quantity for each in (*PAPER, *OURS) for terms in each.contrasts.values() for _, quantity in terms]
    assert len(asked) > 40
    assert {quantity.subject for quantity in asked} <= {*POLICIES, *scorers, UNTRAINED}
    assert {temperature for quantity in asked for temperature in quantity.temperatures} <= set(TEMPERATURES)


def test_keys_of_claims_are_their_own() -> None:
    keys = [each.key for each in (*PAPER, *OURS)]
    assert len(keys) == len(set(keys))

"""Every claim asks for what the study measures."""

from benchmarks.gapo_study.arms import POLICIES, PROBES, REINFORCED, SIZES, TEMPERATURES
from benchmarks.gapo_study.claims import OURS, PAPER
from benchmarks.gapo_study.measurements import WATCHED


def test_every_claim_asks_for_a_policy_that_is_judged_or_a_model_that_is_measured() -> None:
    asked = [quantity for each in (*PAPER, *OURS) for terms in each.contrasts.values() for _, quantity in terms]
    models = {*(arm.reward_model for arm in REINFORCED.values()), *PROBES, "gapo:live", "gapo:anchor"}
    assert len(asked) > 40
    assert {quantity.subject for quantity in asked} <= {*POLICIES, *models}
    places = {place for quantity in asked for place in quantity.temperatures}
    assert places <= {*TEMPERATURES, *map(float, range(1, SIZES["full"].rounds + 1))}
    marks = {place for quantity in asked if quantity.measure == WATCHED for place in quantity.temperatures}
    assert marks <= set(map(float, SIZES["full"].marks))  # when held-out prompts were answered


def test_keys_of_claims_are_their_own() -> None:
    keys = [each.key for each in (*PAPER, *OURS)]
    assert len(keys) == len(set(keys))

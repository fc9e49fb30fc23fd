"""The claims of each result, on numbers worked by hand."""

import json
from math import log
from pathlib import Path

import numpy as np
import pytest

from evaluation.recipes import parse_recipe
from evaluation.recipes.benchmark import SCORES_FILE
from evaluation.reproduction.answers import Drawn
from evaluation.reproduction.claims import Claim, Finding, examine
from evaluation.reproduction.measurements import Measurements
from evaluation.reproduction.result import Readings, Result, steps
from evaluation.reproduction.results import RESULTS
from evaluation.reproduction.results.figure4 import largest
from evaluation.reproduction.tiny import TINY, TinyWorld
from evaluation.reproduction.world import GRID

Values = dict[tuple[str, str, float | None], float]


def found(result: str, key: str, values: Values) -> Finding:
    """The claim where two seeds measure the same."""
    made: Result = RESULTS[result]
    [claim] = [each for each in (*made.claims, *made.controls) if each.key == key]
    return examine(claim, Measurements({(seed, *place): value for place, value in values.items() for seed in (0, 1)}))


def over_grid(measure: str, ganpo: list[float], dpo: list[float]) -> Values:
    rows = {"ganpo-transformer": ganpo, "dpo": dpo}
    return {(who, measure, at): value for who, each in rows.items() for at, value in zip(GRID, each, strict=True)}


@pytest.mark.parametrize("name", RESULTS)
def test_every_chain_is_of_valid_recipes_in_an_order_in_which_they_can_be_run(name: str, tmp_path: Path) -> None:
    worlds = [TinyWorld(seed, TINY, tmp_path) for seed in range(2)]
    before: set[str] = set()
    for step in steps(RESULTS[name], worlds):
        assert parse_recipe(step.recipe).name == step.name
        assert before.issuperset(step.needs), step.name
        before.add(step.name)
    assert {"tiny-s0-start", "tiny-s1-start"} <= before


def test_keys_of_a_results_claims_are_their_own_and_every_claim_says_where_the_paper_makes_it() -> None:
    for result in RESULTS.values():
        keys = [each.key for each in (*result.claims, *result.controls)]
        assert len(keys) == len(set(keys))
        assert len(result.controls) >= 1
        assert all(each.place and each.paper for each in result.claims)
        assert all(each.place.startswith("control") for each in result.controls)


def test_consistently_higher_means_at_every_temperature_and_the_worst_one_is_named() -> None:
    values = over_grid("win_rate", [0.6, 0.6, 0.6, 0.6, 0.49, 0.6], [0.5] * 6)
    finding = found("figure3", "win_rate_everywhere", values)
    assert (finding.word, finding.rival) == ("reversed", "T = 1.25")
    assert finding.interval is not None
    assert finding.interval.estimate == pytest.approx(-0.01)


def test_the_gap_widens_by_the_lead_when_hot_minus_the_lead_when_cool() -> None:
    # leads 0.01 below T = 1 and 0.04 from there on
    values = over_grid("win_rate", [0.51, 0.51, 0.51, 0.44, 0.44, 0.44], [0.5, 0.5, 0.5, 0.4, 0.4, 0.4])
    finding = found("figure3", "gap_widens", values)
    assert finding.interval is not None
    assert (finding.word, finding.interval.estimate) == ("reproduced", pytest.approx(0.03))


@pytest.mark.parametrize(("at_1", "word"), [(0.2, "reproduced"), (0.3, "reversed")])
def test_dpo_collapses_where_it_loses_more_than_15_points_from_half_to_one(at_1: float, word: str) -> None:
    values: Values = {("dpo", "satisfied", 0.5): 0.4, ("dpo", "satisfied", 1.0): at_1}
    assert found("figure3", "dpo_collapses", values).word == word


def test_the_papers_own_correlations_reproduce_figure_4() -> None:
    discriminator, proxy = "ganpo-transformer/discriminator:chosen", "decoder"
    values: Values = {
        (discriminator, "pearson_pooled", 1.5): 0.59,
        (discriminator, "pearson_pooled", 2.0): 0.52,
        (proxy, "pearson_pooled", 1.5): 0.14,
        (proxy, "pearson_pooled", 2.0): -0.50,
    }
    assert [found("figure4", each.key, values).word for each in RESULTS["figure4"].claims] == ["reproduced"] * 5
    beyond = found("figure4", "discriminator_beats_reward_model_2", values)
    assert beyond.interval is not None
    assert beyond.interval.estimate == pytest.approx(1.02)
    assert found("figure4", "beyond_untrained", values).undefined_reason == "undefined in 2 of 2 seeds"


def test_the_largest_of_several_correlations_is_taken_in_every_draw() -> None:
    drawn = largest([Drawn(0.1, np.array([0.3, -0.1])), Drawn(-0.2, np.array([-0.2, 0.0]))])
    assert drawn is not None
    assert drawn.value == 0.2
    assert drawn.replicates is not None
    assert drawn.replicates.tolist() == [0.3, 0.1]
    assert largest([]) is None


def test_figure_5_compares_long_with_short_responses() -> None:
    values: Values = {}
    for policy, (short, medium, long) in {"dpo": (0.6, 0.5, 0.4), "ganpo-transformer": (0.6, 0.58, 0.57)}.items():
        values |= {
            (policy, "win_rate_by_length", place): rate
            for place, rate in zip((1.0, 2.0, 3.0), (short, medium, long), strict=True)
        }
    words = [found("figure5", each.key, values) for each in RESULTS["figure5"].claims]
    assert [each.word for each in words] == ["reproduced"] * 4
    estimates = [each.interval.estimate for each in words if each.interval is not None]
    assert estimates == pytest.approx([-0.2, -0.03, 0.17, 0.08])  # the last: medium, the smaller of the two leads


def test_the_papers_own_rates_reproduce_tables_1_and_3() -> None:
    rates = {
        "dpo": (0.2276, 0.2779, 1668),
        "ganpo-transformer": (0.2417, 0.2969, 1664),
        "simpo": (0.3066, 0.3603, 1740),
        "ganpo-simpo": (0.3137, 0.3674, 1745),
        "ganpo-mse": (0.2296, 0.2703, 1684),
        "ganpo-mlp": (0.2266, 0.2752, 1671),
    }
    values: Values = {}
    for policy, (win, controlled, characters) in rates.items():
        values |= {
            (policy, "win_rate", None): win,
            (policy, "win_rate_length_controlled", None): controlled,
            (policy, "log_characters", None): log(characters),
        }
    for table in ("table1", "table3"):
        claims: list[Claim] = list(RESULTS[table].claims)
        assert [found(table, each.key, values).word for each in claims] == ["reproduced"] * len(claims)
    lead = found("table3", "transformer_wins", values)
    assert lead.rival == "ganpo-mse"  # 22.96, the closest
    assert lead.interval is not None
    assert lead.interval.estimate == pytest.approx(0.0121)


def test_the_papers_own_accuracies_reproduce_table_2() -> None:
    rows = {
        "start": (46.32, 56.73, 47.75, 53.11),
        "dpo": (48.37, 57.02, 47.92, 55.28),
        "ganpo-transformer": (48.67, 56.93, 48.25, 55.67),
    }
    values: Values = {
        (policy, "accuracy", place): accuracy / 100
        for policy, row in rows.items()
        for place, accuracy in zip((1.0, 2.0, 3.0, 4.0), row, strict=True)
    }
    claims = RESULTS["table2"].claims
    findings = [found("table2", each.key, values) for each in claims]
    assert [each.word for each in findings] == ["reproduced"] * 4
    estimates = [each.interval.estimate for each in findings if each.interval is not None]
    # the worst tasks, MMLU: 56.93 - 57.02 and 56.93 - 56.73; means 52.38, 50.9775 and 52.1475
    assert estimates == pytest.approx([-0.0009, 0.0020, 0.014025, 0.002325])


def test_a_question_that_a_policy_could_not_answer_leaves_its_draws_paired_with_the_others(tmp_path: Path) -> None:
    world = TinyWorld(0, TINY, tmp_path)
    policies, task = ("start", "dpo", "ganpo-transformer", "ganpo-random"), "wrong_value"
    sides = {"prompt": "?", "chosen": "a", "rejected": "b", "subset": task}
    (tmp_path / "tiny-s0-64-questions.jsonl").write_text(
        "".join(json.dumps({**sides, "document": each}) + "\n" for each in range(4))
    )
    rows = [
        # documents 0 and 2 are answered rightly; dpo has no answer to the last one
        {
            "item": item,
            "scorer": f"tiny-s0-{policy}:mean_logprob",
            "chosen": [float(item % 2 == 0)],
            "rejected": [0.5],
            "error": "too long" if policy == "dpo" and item == 3 else None,
        }
        for policy in policies
        for item in range(4)
    ]
    (tmp_path / SCORES_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))

    read = list(RESULTS["table2"].read(Readings(world, lambda name: tmp_path)))
    drawn = {policy: found for policy, _, place, found in read if place == 1.0}
    whole, part = drawn["start"], drawn["dpo"]
    assert whole is not None
    assert part is not None
    assert whole.replicates is not None
    assert part.replicates is not None
    assert (whole.value, part.value) == (0.5, pytest.approx(2 / 3))
    # every draw takes the same documents: as many rightly answered ones, of fewer answered ones or as many
    answered = np.isfinite(part.replicates)  # a draw may miss all but the last document
    assert answered.sum() > 900
    assert (part.replicates >= whole.replicates)[answered].all()
    # the other tasks have no question
    assert [found for _, _, place, found in read if place != 1.0] == [None] * 12


def test_the_papers_own_times_on_gemma_reproduce_table_4() -> None:
    seconds = {"dpo": 9110, "ganpo-transformer": 9444, "simpo": 7882, "ganpo-simpo": 11846}
    values: Values = {(arm, "log_seconds_a_step", None): log(each) for arm, each in seconds.items()}
    findings = [found("table4", each.key, values) for each in RESULTS["table4"].claims]
    assert [each.word for each in findings] == ["reproduced"] * 3
    overheads = [np.expm1(each.interval.estimate) for each in findings if each.interval is not None]
    assert overheads[:2] == pytest.approx([0.0367, 0.5029], abs=1e-4)

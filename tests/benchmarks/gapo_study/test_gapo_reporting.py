"""From responses and rounds to shares, tables and figures."""

import json

import pytest

from benchmarks.gapo_study.arms import POLICIES, REINFORCED, SIZES, TEMPERATURES
from benchmarks.gapo_study.claims import OURS, PAPER
from benchmarks.gapo_study.measurements import at_same_kl, satisfaction
from benchmarks.gapo_study.pictures import data_sizes, final_judgement, reward_hacking
from benchmarks.gapo_study.tables import NAMES, summary, tables
from benchmarks.study.document import generated
from evaluation.reproduction.findings import Study, conclude
from evaluation.reproduction.measurements import Measurements
from trainer.data.product_world.task import Task


@pytest.fixture
def study() -> Study:
    """Two seeds 0.2 apart; arm i is 0.01 i above the start in both; in every round all arms are alike."""
    size = SIZES["quick"]
    values = {
        (seed, policy, "satisfied", temperature): 0.3 + 0.2 * seed + 0.01 * place
        for seed in range(2)
        for place, policy in enumerate(POLICIES)
        for temperature in TEMPERATURES
    }
    values |= {
        (seed, arm, measure, float(number)): 0.1 * number + 0.2 * seed
        for seed in range(2)
        for arm in REINFORCED
        for measure in ("paid", "watched", "anchor")
        for number in range(1, size.rounds + 1)
    }
    return conclude(Measurements(values), size, PAPER, OURS)


def test_constraints_are_counted_by_prompt_by_kind_and_all_together() -> None:
    simple = Task("mug", (("color", "red"), ("size", "tiny")), level=1)
    long = Task("mug", (("color", "red"),), length=(1, 2), level=2)
    # the second says three words where two are allowed, and all else right
    found = satisfaction([(simple, "color is red . size is tiny ."), (long, "color is red .")])
    assert found["satisfied"] == 0.5
    assert (found["single"], found["length"]) == (1.0, 0.0)
    assert "combination" not in found
    assert (found["complete"], found["len"]) == (1.0, 0.0)
    assert found["constraints"] == pytest.approx(8 / 9)  # four and five of them, one missed


def test_ppo_is_watched_where_its_kl_is_nearest_to_the_others_end() -> None:
    kl = {float(round_): round_ / 10 for round_ in range(1, 16)}  # 0.3, 0.8 and 1.3 over five rounds up to the marks
    other = dict.fromkeys(map(float, range(1, 16)), 0.7) | {1.0: 99.0}  # its first rounds do not count
    assert at_same_kl({5.0: 0.1, 10.0: 0.2, 15.0: 0.3}, kl, other) == 0.2


def test_the_json_holds_every_claim_with_its_word_and_no_nan(study: Study) -> None:
    content = json.loads(json.dumps(study.to_json({"python": "3"}), allow_nan=False))
    words = {row["key"]: row["word"] for row in content["claims"]}
    assert len(words) == len(PAPER) + len(OURS)
    assert words["ppo_beats_sft"] == "reproduced"
    assert words["preferences_harm"] == "reversed"
    assert words["encoder_understands"] == "not reproduced"


def test_tables_have_as_many_cells_in_each_row_as_headings(study: Study) -> None:
    made = tables(study)
    assert len(made) == 8
    for table in made:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.headings)}
    text = generated(study, summary(study), made, {"torch": "2"}, {})
    assert "95.4" in text  # the paper's own number stands beside ours


def test_figures_show_every_arm(study: Study) -> None:
    assert {note.text for note in reward_hacking(study).layout.annotations} >= {NAMES["ppo"], NAMES["gapo"]}
    assert len(final_judgement(study).data[0].x) == len(NAMES)
    assert len(data_sizes(study).data) == 2 * 2 * 2

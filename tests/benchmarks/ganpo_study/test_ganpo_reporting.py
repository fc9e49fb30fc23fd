"""From measured numbers to tables, JSON, figures and the page."""

import json

import pytest

from benchmarks.ganpo_study.arms import POLICIES, SIZES, TEMPERATURES
from benchmarks.ganpo_study.claims import OURS, PAPER
from benchmarks.ganpo_study.measurements import untrained
from benchmarks.ganpo_study.pictures import gold_by_temperature, lead_over_dpo
from benchmarks.ganpo_study.tables import tables
from benchmarks.study.document import generated
from evaluation.reproduction.findings import Study, conclude
from evaluation.reproduction.measurements import Measurements
from evaluation.reproduction.toy_world import ARMS


@pytest.fixture
def study() -> Study:
    """Two seeds 0.2 apart; arm i is 0.01 i above the start in both, at every temperature; no scorers."""
    values = {
        (seed, policy, "gold", temperature): 0.3 + 0.2 * seed + 0.01 * place
        for seed in range(2)
        for place, policy in enumerate(POLICIES)
        for temperature in TEMPERATURES
    }
    return conclude(Measurements(values), SIZES["quick"], PAPER, OURS)


def test_a_lead_is_taken_within_seeds(study: Study) -> None:
    # the start is one place below DPO, in both seeds alike
    interval = study.lead("start", "dpo", "gold", 1.0)
    assert interval is not None
    assert (interval.lower, interval.upper) == pytest.approx((-0.01, -0.01))
    assert study.lead("start", "dpo", "satisfied", 1.0) is None


def test_the_json_holds_every_claim_with_its_word_and_no_nan(study: Study) -> None:
    content = json.loads(json.dumps(study.to_json({"python": "3"}), allow_nan=False))
    words = {row["key"]: row["word"] for row in content["claims"]}
    assert len(words) == len(study.paper) + len(study.ours)
    assert words["ganpo_beats_dpo"] == "reproduced"
    assert words["mse_beats_all"] == "reversed"
    assert words["beyond_untrained"] == "not reproduced"
    row = next(row for row in content["measurements"] if row["subject"] == "dpo" and row["temperature"] == 2.0)
    assert row["per_seed"] == pytest.approx([0.31, 0.51])


def test_tables_have_as_many_cells_in_each_row_as_headings(study: Study) -> None:
    made = tables(study)
    assert len(made) == 6
    for table in made:
        assert {len(row) for row in table.rows} == {len(table.headings)}
        assert table.markdown().count("\n| ") == len(table.rows) + 2


def test_figures_have_a_panel_for_every_arm_but_the_baseline(study: Study) -> None:
    for draw, traces in ((gold_by_temperature, 4), (lead_over_dpo, 2)):
        figure = draw(study)
        assert len(figure.data) == traces * (len(ARMS) - 1)
        assert {note.text for note in figure.layout.annotations} >= set(ARMS) - {"dpo"}


def test_the_generated_part_says_what_was_run_and_what_came_of_every_claim(study: Study) -> None:
    text = generated(study, "in each a few steps.", tables(study), {"torch": "2"}, {"images/a.png": "what it shows"})
    assert text.startswith("2 seeds; in each a few steps. torch 2.\n")
    assert f"Of {len(PAPER)} tests of the paper's claims" in text
    assert text.count("Claims of the paper") == 1
    assert "![what it shows](images/a.png)" in text


def test_untrained_discriminators_are_told_by_spread_and_largest_size() -> None:
    rows = [(name, "pearson_within", 2.0, r) for name, r in {"random:random_0": 0.1, "random:random_1": -0.3}.items()]
    found = {
        measure: value for _, measure, _, value in untrained([*rows, ("probe:chosen", "pearson_within", 2.0, 0.9)])
    }
    assert found["pearson_within/spread"] == pytest.approx(0.4 / 2**0.5)
    assert found["pearson_within/largest"] == 0.3

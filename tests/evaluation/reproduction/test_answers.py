"""Battles and their draws, by hand."""

import json
from math import log
from pathlib import Path

import numpy as np
import pytest

from evaluation.reproduction.answers import Answers, Battles, Draws, fight, judged, read_answers
from evaluation.run_files import PROMPTS_FILE, RESPONSES_FILE, SCORES_FILE
from evaluation.statistics.bootstrap import Floats


def answers(prompts: list[int], gold: list[float], characters: list[float] | None = None) -> Answers:
    """Answers at one temperature; replicates count within the prompt."""
    replicate = [prompts[:place].count(prompt) for place, prompt in enumerate(prompts)]
    return Answers(
        max(prompts) + 1,
        np.array(prompts),
        np.ones(len(prompts)),
        np.array(replicate),
        np.array(characters or [10.0] * len(prompts)),
        {"gold": np.array(gold)},
    )


def test_every_response_meets_every_one_of_the_baselines_to_the_same_prompt_and_a_tie_is_half() -> None:
    own = answers([0, 0, 1], [0.5, 0.9, 0.2], [1, 2, 3])
    found = fight(own, answers([0, 1, 1], [0.5, 0.1, np.nan], [7, 8, 9]), "gold")
    assert found.prompt.tolist() == [0, 0, 1]
    assert found.preference.tolist() == [0.5, 1.0, 1.0]
    assert found.characters.tolist() == [1, 2, 3]
    assert found.baseline_characters.tolist() == [7, 7, 8]


def test_a_policy_against_itself_leaves_out_equal_replicates() -> None:
    own = answers([0, 0], [0.5, 0.9])
    assert fight(own, own, "gold", apart=True).preference.tolist() == [0.0, 1.0]
    assert len(fight(own, own, "gold").preference) == 4


def test_a_judges_preference_is_taken_as_it_is_beside_the_baselines_length() -> None:
    found = judged(answers([0, 1, 1], [0.25, np.nan, 1.0]), "gold", [100.0, 200.0])
    assert found.preference.tolist() == [0.25, 1.0]
    assert found.baseline_characters.tolist() == [100.0, 200.0]


def test_a_win_rate_and_its_draws() -> None:
    battles = Battles(np.array([0, 0, 1]), np.array([1.0, 0.5, 0.0]), np.array([1.0, 5.0, 9.0]), np.zeros(3))
    found = Draws(2, 400, 0).win_rate(battles)
    assert found is not None
    assert found.value == pytest.approx(0.5)
    # draws are of the two prompts: twice the first, one of each, twice the second
    assert set(np.round(replicates(found.replicates), 6)) == {0.75, 0.5, 0.0}
    assert battles.of_length(5, 9).preference.tolist() == [0.5]


def test_a_draw_that_misses_a_bucket_is_undefined_and_an_empty_bucket_has_no_number() -> None:
    draws = Draws(2, 400, 0)
    found = draws.mean(np.array([1]), np.array([3.0]))
    assert found is not None
    # a quarter of the draws are twice the other prompt
    assert np.isnan(replicates(found.replicates)).mean() == pytest.approx(0.25, abs=0.07)
    assert draws.mean(np.array([], dtype=np.int64), np.array([])) is None


def test_the_logarithm_of_a_mean_is_no_mean_of_logarithms() -> None:
    found = Draws(2, 100, 0).log_mean(np.array([0, 1]), np.array([1.0, 9.0]))
    assert found is not None
    assert found.value == pytest.approx(log(5))


def test_a_correlation_of_three_points_is_pearsons() -> None:
    # (0, 0), (1, 2), (2, 1): covariance 1/3, both variances 2/3
    found = Draws(3, 100, 0).correlation(
        "pearson_pooled", np.array([0, 1, 2]), np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0])
    )
    assert found is not None
    assert found.value == pytest.approx(0.5)


def test_a_stress_tests_files_become_columns_sorted_by_prompt(tmp_path: Path) -> None:
    def write(name: str, *rows: dict[str, object]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    cell = {"temperature": 1.0, "replicate": 0}
    write(PROMPTS_FILE, *({"prompt_id": each, "prompt": "p", "task": None} for each in ("b", "a")))
    write(RESPONSES_FILE, *({"prompt_id": each, **cell, "response": 3 * each} for each in ("a", "b")))
    scored = {"prompt_id": "b", **cell, "scorer": "gold"}
    write(SCORES_FILE, {**scored, "score": 0.5}, {**scored, "prompt_id": "a", "score": None})
    found = read_answers(tmp_path)
    assert found.prompt.tolist() == [0, 1]  # b comes first among the prompts
    assert found.scores["gold"].tolist()[0] == 0.5
    assert np.isnan(found.scores["gold"][1])
    assert found.at(1.0).characters.tolist() == [3, 3]
    assert len(found.at(2.0).prompt) == 0


def replicates(found: Floats | None) -> Floats:
    assert found is not None
    return found

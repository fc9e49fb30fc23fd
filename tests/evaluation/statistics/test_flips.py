"""The prompts behind a comparison: which response each scorer picks, and where two runs swap places."""

import math

import numpy as np

from evaluation.statistics.flips import picks, swaps
from evaluation.statistics.run_comparison import RunScores


def run(prompts: str, judged: list[float], temperature: list[float] | None = None, **scorers: list[float]) -> RunScores:
    """One response for each letter, which names its prompt."""
    return RunScores(
        prompts=list(prompts),
        temperature=np.array(temperature or [1.0] * len(prompts)),
        responses=[f"response {place}" for place in range(len(prompts))],
        scorers={name: np.array(values) for name, values in scorers.items()},
        oracles={"judge": np.array(judged)},
    )


def test_picks_are_the_responses_each_scorer_likes_best_and_flips_those_the_oracle_tells_apart() -> None:
    #            a         b         c: both pick the last   d: one response
    found = picks(
        run("aabbccd", [1, 5, 2, 3, 0, 1, 9], x=[0, 1, 1, 0, 0, 1, 1], y=[1, 0, 0, 1, 0, 1, 1]), "x", "y", "judge"
    )
    assert (found.n_prompts, found.n_a, found.n_b) == (3, 1, 1)
    # 5 against 1 on a, before 2 against 3 on b
    assert [(flip.prompt, flip.row_a, flip.row_b, flip.value_a, flip.value_b) for flip in found.flipped] == [
        ("a", 1, 0, 5.0, 1.0),
        ("b", 2, 3, 2.0, 3.0),
    ]


def test_a_response_that_one_of_them_gave_no_value_to_is_no_pick() -> None:
    found = picks(run("aaa", [1, 2, 3], x=[0, 1, math.nan], y=[1, 0, 5]), "x", "y", "judge")
    assert [(flip.row_a, flip.row_b) for flip in found.flipped] == [(1, 0)]
    assert picks(run("ab", [1, 2], x=[0, 1], y=[1, 0]), "x", "y", "judge").n_prompts == 0


def test_runs_swap_where_a_prompt_goes_against_the_whole() -> None:
    # means: a 1.5 and 3, b 4 and 2; together 2.75 against 2.5, so that a goes the other way
    found = swaps(run("aab", [1, 2, 4]), run("ab", [3, 2]), "judge")
    assert found is not None
    assert (found.n_prompts, found.n_a, found.n_b, found.mean_a, found.mean_b) == (2, 1, 1, 2.75, 2.5)
    assert [(flip.prompt, flip.mean_a, flip.mean_b) for flip in found.flipped] == [("a", 1.5, 3.0)]


def test_only_common_temperatures_count_and_each_of_them_the_same() -> None:
    # at T = 1 twice 0, at T = 2 once 6: the mean of means is 3; T = 3 is in one run alone
    a = run("aaaa", [0, 0, 6, 100], temperature=[1, 1, 2, 3])
    found = swaps(a, run("aa", [1, 1], temperature=[1, 2]), "judge")
    assert found is not None
    assert (found.mean_a, found.mean_b) == (3.0, 1.0)
    assert swaps(a, run("b", [1]), "judge") is None

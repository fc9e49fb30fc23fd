"""Runs on the same prompts are no surer than they are: bounds by hand, and intervals that hold what they claim."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from evaluation.statistics.combining import Spread, Sums, inverse_variance
from evaluation.statistics.correlation import correlate
from evaluation.statistics.shared_prompts import Joint, Marks, Standings, joint_errors


def prompts(*marks: int) -> Marks:
    return np.array(marks, dtype=np.uint64)


class Standing(NamedTuple):
    """The errors of a group's rows on a set of prompts."""

    errors: Sequence[float]
    prompts: Marks | None


def standing(error: float, prompts: Marks | None) -> Standing:
    """One measure of error."""
    return Standing([error], prompts)


def joint(groups: Sequence[Sequence[Standing]], of_parts: Sequence[bool], n_measures: int = 1) -> Joint:
    """Sets that are the same object are one set."""
    everything = [(number, each) for number, group in enumerate(groups) for each in group]
    sets = {id(each.prompts): each.prompts for _, each in everything}
    places = {key: place for place, key in enumerate(sets)}
    standings = Standings(
        np.array([number for number, _ in everything], np.intp),
        np.array([places[id(each.prompts)] for _, each in everything], np.intp),
        np.array([each.errors for _, each in everything], float).reshape(-1, n_measures),
    )
    return joint_errors(standings, [*sets.values()], np.array(of_parts, bool))


def error_variance(standings: Sequence[Standing], *, of_parts: bool = False) -> float:
    """Of the only measure."""
    [[found]] = joint([standings], [of_parts]).variances.tolist()
    return float(found)


def distinct(*sets: Marks) -> int:
    [n_prompts] = joint([[standing(1.0, each) for each in sets]], [False]).n_prompts.tolist()
    return int(n_prompts)


def test_errors_on_different_prompts_are_independent_and_on_the_same_ones_they_are_added() -> None:
    apart = [standing(0.3, prompts(1, 2)), standing(0.4, prompts(3))]
    assert error_variance(apart) == pytest.approx(0.25)
    same = [standing(0.3, prompts(1, 2)), standing(0.4, prompts(2, 1))]
    assert error_variance(same) == pytest.approx(0.49)
    assert (distinct(prompts(1, 2), prompts(2, 3)), distinct(prompts(1, 2)), distinct()) == (3, 2, 0)
    assert joint([], []).variances.shape == (0, 1)


def test_in_between_they_are_correlated_by_the_share_of_common_prompts() -> None:
    # one common prompt of two and two: 1 / sqrt(2 * 2) = 1/2, so 1 + 1 + 2 * 1/2
    assert error_variance([standing(1.0, prompts(1, 2)), standing(1.0, prompts(2, 3))]) == pytest.approx(3)
    # one of one and four: 1 / sqrt(1 * 4) = 1/2, so 9 + 16 + 2 * 1/2 * 12
    assert error_variance([standing(3.0, prompts(1)), standing(4.0, prompts(1, 2, 3, 4))]) == pytest.approx(37)


def test_unknown_prompts_may_be_anybodys() -> None:
    known = [standing(0.3, prompts(1)), standing(0.4, prompts(2))]
    assert error_variance([*known, standing(0.5, None)]) == pytest.approx((0.5 + 0.5) ** 2)
    assert error_variance([standing(0.5, None), standing(0.2, None)]) == pytest.approx(0.49)


def test_estimates_of_parts_move_together_wholly_where_their_sets_meet_at_all() -> None:
    # 1 meets 2, 2 meets 3, and 4 nobody: (1 + 2 + 3)^2 + 4^2
    sets = [prompts(1, 2), prompts(2, 3, 4), prompts(4, 5), prompts(6)]
    standings = [standing(float(error), each) for error, each in enumerate(sets, 1)]
    assert error_variance(standings, of_parts=True) == pytest.approx(52)
    assert error_variance(standings) < 52
    assert error_variance([*standings, standing(1.0, None)], of_parts=True) == pytest.approx((math.sqrt(52) + 1) ** 2)
    assert error_variance(standings[:1], of_parts=True) == pytest.approx(1)


def test_each_measure_of_error_is_by_itself() -> None:
    sets = [prompts(1, 2), prompts(2, 3), None]
    errors = [[1.0, 0.0], [1.0, 2.0], [0.5, 0.25]]
    standings = [Standing(*each) for each in zip(errors, sets, strict=True)]
    [found] = joint([standings], [False], n_measures=2).variances.tolist()
    assert found == pytest.approx([(math.sqrt(3) + 0.5) ** 2, 2.25**2])


def test_groups_that_are_added_up_at_once_keep_what_is_theirs() -> None:
    one, other, alone = prompts(1, 2), prompts(2, 3), prompts(7)
    groups = [
        [standing(1.0, one), standing(1.0, other)],
        [],
        [standing(2.0, alone)],
        [standing(1.0, one), standing(2.0, other), standing(0.5, None)],
        [standing(1.0, other), standing(1.0, one)],
    ]
    # 1 + 1 + 2/2, then 4, then sqrt(1 + 4 + 4/2) + 0.5, and of parts (1 + 1)^2
    found = joint(groups, [False, False, False, False, True])
    assert found.variances[:, 0].tolist() == pytest.approx([3, 0, 4, (math.sqrt(7) + 0.5) ** 2, 4])
    assert found.n_prompts.tolist() == [3, 0, 1, 3, 3]


def test_it_is_the_sum_of_all_pairs() -> None:
    made = np.random.default_rng(0)
    sets = [made.choice(30, size, replace=False).astype(np.uint64) for size in (3, 10, 10, 20, 30)]
    errors = made.uniform(0.1, 1, 5)
    common = np.array([[len(np.intersect1d(a, b)) / math.sqrt(len(a) * len(b)) for b in sets] for a in sets])

    found = error_variance([standing(*each) for each in zip(errors.tolist(), sets, strict=True)])
    assert found == pytest.approx(errors @ common @ errors)


RUNS, PROMPTS = 5, 40
DESIGNS: dict[str, Callable[[np.random.Generator], list[Marks]]] = {
    "the same": lambda _: [np.arange(PROMPTS, dtype=np.uint64)] * RUNS,
    "half": lambda _: [np.r_[:20, 100 * (run + 1) : 100 * (run + 1) + 20].astype(np.uint64) for run in range(RUNS)],
    "drawn": lambda made: [made.choice(100, PROMPTS, replace=False).astype(np.uint64) for _ in range(RUNS)],
    "none": lambda _: [np.arange(100 * run, 100 * run + PROMPTS, dtype=np.uint64) for run in range(RUNS)],
}


def combined(y: Sequence[float], s: Sequence[float], spread: float, correlation: bool = False) -> tuple[float, float]:
    """The interval of estimates y with standard errors s."""
    w = [1 / each**2 for each in s]
    ends = Spread(spread, 1.959964**2 * spread, 1.959964**2 * spread)
    found = inverse_variance(
        Sums(len(y), len(y), sum(w), float(np.dot(w, y)), float(np.dot(w, np.square(y))), ends), correlation
    )
    assert found.lower is not None
    assert found.upper is not None
    return found.lower, found.upper


def moved(s: Sequence[float]) -> list[float]:
    """w s of each."""
    return [1 / each for each in s]


@pytest.mark.parametrize("alike", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("design", DESIGNS)
def test_the_interval_holds_however_prompts_are_shared_and_however_alike_runs_react_to_them(
    design: str, alike: float
) -> None:
    made = np.random.default_rng(7)
    sets = DESIGNS[design](made)
    s = [1 / math.sqrt(PROMPTS)] * RUNS
    bound = error_variance([standing(u, each) for u, each in zip(moved(s), sets, strict=True)])
    held = held_as_if_independent = 0
    for _ in range(2000):
        pool = made.normal(size=1000)
        y = [
            float(np.mean(math.sqrt(alike) * pool[each.astype(int)] + math.sqrt(1 - alike) * made.normal(size=PROMPTS)))
            for each in sets
        ]
        lower, upper = combined(y, s, bound)
        held += lower <= 0 <= upper
        lower, upper = combined(y, s, sum(u * u for u in moved(s)))
        held_as_if_independent += lower <= 0 <= upper

    # runs that react to every prompt alike meet the bound; three standard errors are 0.015
    if alike == 1 or design == "none":
        assert held / 2000 == pytest.approx(0.95, abs=0.015)
    assert held / 2000 >= 0.935
    if alike == 1 and design == "the same":  # 1.96 standard errors are 1.96 / sqrt(5) of the true one
        assert held_as_if_independent / 2000 == pytest.approx(0.619, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["the same", "half", "none"])
def test_correlations_within_prompts_of_several_runs_are_held_by_their_combined_interval(design: str) -> None:
    """Scores follow the oracle more on some prompts than on others; responses are each run's own."""
    made = np.random.default_rng(3)
    prompt = np.repeat(np.arange(PROMPTS), 6)

    def responses(slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        oracle = made.normal(size=len(slopes))
        return slopes * oracle + made.normal(size=len(slopes)), oracle

    # E[slope] / sqrt(E[slope^2] + 1) of slopes that are 0 or 2 at even odds
    truth = 1 / math.sqrt(2 + 1)
    held = held_as_if_independent = 0
    rounds = 300
    for _ in range(rounds):
        sets = DESIGNS[design](made)
        pool = made.choice([0.0, 2.0], size=1000)
        y, s = [], []
        for its in sets:
            score, oracle = responses(pool[its.astype(int)][prompt])
            found = correlate(prompt, {"rm": score}, {"judge": oracle}, draws=100, confidence=0.95, seed=0)
            within = next(each for each in found if each.statistic == "pearson_within")
            assert within.estimate is not None
            assert within.standard_error is not None
            y.append(math.atanh(within.estimate))
            s.append(within.standard_error / (1 - within.estimate**2))
        standings = [standing(u, each) for u, each in zip(moved(s), sets, strict=True)]
        lower, upper = combined(y, s, error_variance(standings), correlation=True)
        held += lower <= truth <= upper
        lower, upper = combined(y, s, sum(u * u for u in moved(s)), correlation=True)
        held_as_if_independent += lower <= truth <= upper

    assert held / rounds >= 0.91  # 0.95 less three standard errors
    if design == "the same":
        assert held_as_if_independent / rounds < 0.85

"""Best of N by listing every subset, by hand, and against the curve it is to be fitted with."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.statistics.best_of_n import (
    BEST_N,
    CEILING,
    GAO_ALPHA,
    GAO_BETA,
    ORACLE,
    PROXY,
    REGRET,
    BestOfN,
    choices,
    gao_weights,
    kl_bound,
)
from evaluation.statistics.bootstrap import Floats


def best_of_n(score: list[float] | Floats, oracle: list[float] | Floats, prompts: int = 1) -> BestOfN:
    """Equally many responses to each prompt."""
    x, y = np.asarray(score, dtype=np.float64), np.asarray(oracle, dtype=np.float64)
    return BestOfN(np.repeat(np.arange(prompts), len(x) // prompts), x, y, prompts)


def value(column: BestOfN, curve: str, n: float) -> float:
    found = column.measures(None)[curve, n].value
    assert found is not None
    return found


def listed(score: list[int], oracle: list[int], n: int) -> float:
    """Mean over all subsets of size n of the judgement of its best by score, ties broken by lot."""
    chosen = []
    for subset in combinations(range(len(score)), n):
        highest = max(score[i] for i in subset)
        chosen.append(np.mean([oracle[i] for i in subset if score[i] == highest]))
    return float(np.mean(chosen))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=8, max_size=9))
def test_the_estimator_is_the_mean_over_all_subsets(rows: list[tuple[int, int]]) -> None:
    score, oracle = [row[0] for row in rows], [row[1] for row in rows]
    column = best_of_n([float(x) for x in score], [float(y) for y in oracle])
    assert column.ns == (1, 2)
    for n in column.ns:
        assert value(column, ORACLE, n) == pytest.approx(listed(score, oracle, n))
        assert value(column, PROXY, n) == pytest.approx(listed(score, score, n))
        assert value(column, CEILING, n) == pytest.approx(listed(oracle, oracle, n))


def test_eight_responses_by_hand() -> None:
    # scores 1..8 and the same judgements: of two of eight the larger is (8 + 1) 2 / 3 = 6 on average
    column = best_of_n(np.arange(1.0, 9), np.arange(1.0, 9))
    assert value(column, ORACLE, 1) == pytest.approx(4.5)
    assert value(column, ORACLE, 2) == pytest.approx(6)


def test_n_stops_at_a_quarter_of_the_responses() -> None:
    assert [choices(k) for k in (1, 4, 16, 27, 100)] == [
        (1,),
        (1,),
        (1, 2, 3, 4),
        (1, 2, 3, 4, 6),
        (1, 2, 3, 4, 6, 8, 12, 16, 24, 25),
    ]


def test_a_scorer_that_the_oracle_contradicts_loses_by_choosing() -> None:
    generator = np.random.default_rng(0)
    oracle = generator.standard_normal((40, 16)).ravel()
    column = best_of_n(-oracle, oracle, prompts=40)
    summary = column.summary(None)
    assert summary[BEST_N].value == 1
    assert value(column, ORACLE, 4) < value(column, ORACLE, 1) < value(column, CEILING, 4)
    assert summary[REGRET].value == pytest.approx(value(column, CEILING, 4) - value(column, ORACLE, 4))


def test_prompts_with_too_few_responses_for_the_largest_n_are_left_out_of_every_n() -> None:
    prompt = np.array([0] * 16 + [1] * 3)
    oracle = np.concatenate([np.arange(16.0), [100.0, 100.0, 100.0]])
    column = BestOfN(prompt, oracle, oracle, 2)
    found = column.measures(None)
    assert {each.n_prompts for each in found.values()} == {1}
    assert value(column, ORACLE, 1) == pytest.approx(7.5)


def test_kl_is_bounded_as_the_literature_bounds_it() -> None:
    assert kl_bound(1) == 0
    assert kl_bound(2) == pytest.approx(np.log(2) - 0.5)
    assert kl_bound(16) == pytest.approx(np.log(16) - 15 / 16)


def test_gains_on_gaos_curve_give_back_its_parameters() -> None:
    ns = (2, 3, 4, 8, 16)
    d = np.sqrt([kl_bound(n) for n in ns])
    assert gao_weights(ns) @ (d * (0.7 - 0.2 * d)) == pytest.approx([0.7, 0.2])
    few = best_of_n(np.arange(8.0), np.arange(8.0)).summary(None)
    assert few[GAO_ALPHA].value is None
    many = best_of_n(np.arange(16.0), np.arange(16.0)).summary(None)
    assert many[GAO_ALPHA].value is not None
    assert many[GAO_BETA].value is not None

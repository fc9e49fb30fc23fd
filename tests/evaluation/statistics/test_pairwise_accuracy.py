"""Pairwise accuracy, by hand and against counting every pair."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.statistics import pairwise_accuracy
from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.pairwise_accuracy import pair_counts, weighted_pair_counts

Rows = list[tuple[int, int, int]]


def columns(rows: Rows) -> tuple[Ints, Ints, Ints]:
    prompt, score, oracle = np.array(sorted(rows, key=lambda row: row[0]), dtype=np.int64).reshape(-1, 3).T
    return prompt, score, oracle


def counted_one_by_one(prompt: Ints, score: Ints, oracle: Ints, n_prompts: int, weight: Floats) -> Floats:
    counts = np.zeros((n_prompts, 3))
    for i, j in itertools.combinations(range(len(prompt)), 2):
        if prompt[i] == prompt[j]:
            agrees = 0.5 if score[i] == score[j] else float((score[i] > score[j]) == (oracle[i] > oracle[j]))
            decided = float(oracle[i] != oracle[j])
            counts[prompt[i]] += weight[i] * weight[j] * np.array([agrees * decided, decided, score[i] != score[j]])
    return counts


def test_three_responses_by_hand() -> None:
    # judged 1 < 2 < 3, scored 5, 9, 9: (1,2) and (1,3) agree, (2,3) is the scorer's tie
    prompt, score, oracle = columns([(0, 5, 1), (0, 9, 2), (0, 9, 3)])
    assert pair_counts(prompt, score, oracle, 1).tolist() == [[2.5, 3.0, 2.0]]


def test_pairs_of_different_prompts_and_pairs_the_oracle_ties_do_not_count() -> None:
    prompt, score, oracle = columns([(0, 1, 1), (0, 2, 1), (2, 1, 1), (2, 2, 0)])
    assert pair_counts(prompt, score, oracle, 3).tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 1]]


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 4)), max_size=40)


@given(rows)
def test_sorting_counts_what_listing_counts(drawn: Rows) -> None:
    prompt, score, oracle = columns(drawn)
    expected = counted_one_by_one(prompt, score, oracle, 6, np.ones(len(prompt)))
    assert pair_counts(prompt, score, oracle, 6).tolist() == expected.tolist()


@given(rows, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_weights_multiply(drawn: Rows, weight: list[int]) -> None:
    prompt, score, oracle = columns(drawn)
    second = np.arange(len(prompt)) % 3
    weights = np.array([weight, [1, 1, 1]], dtype=np.float64)
    found = weighted_pair_counts(prompt, score, oracle, 6, second, weights)
    assert found.shape == (2, 6, 3)
    for draw in range(2):
        expected = counted_one_by_one(prompt, score, oracle, 6, weights[draw][second])
        np.testing.assert_allclose(found[draw], expected)


def test_a_hundred_thousand_responses_to_one_prompt_are_counted_without_listing_their_pairs() -> None:
    size = 100_000
    oracle = np.arange(size)
    score = np.roll(oracle, 1)  # the first row holds the highest score: its size - 1 pairs are wrong, all others right
    [[agreeing, decided, told_apart]] = pair_counts(np.zeros(size, dtype=np.int64), score, oracle, 1)
    assert decided == told_apart == size * (size - 1) / 2
    assert decided - agreeing == size - 1


def test_a_prompt_too_large_to_list_is_missing_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise_accuracy, "MOST_RESPONSES_FOR_WEIGHTED_PAIRS", 2)
    prompt, score, oracle = columns([(0, 1, 1), (0, 2, 2), (0, 3, 3), (1, 1, 1), (1, 2, 2)])
    found = weighted_pair_counts(prompt, score, oracle, 2, np.zeros(5, dtype=np.int64), np.ones((1, 1)))
    assert np.isnan(found[0, 0]).all()
    assert found[0, 1].tolist() == [1.0, 1.0, 1.0]

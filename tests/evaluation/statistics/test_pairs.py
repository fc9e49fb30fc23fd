"""Pairs that the oracle decides, listed; sums over them by bin; and the same with second clusters weighted."""

import numpy as np
import pytest

from evaluation.statistics import pairs as pairs_module
from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.margins import margin_accuracies, margin_numbers
from evaluation.statistics.pairs import Binned, Pairs, PairSums, decided_pairs, equal_mass_bins


def list_pairs(prompt: Ints, score: Floats, oracle: Floats, second: Ints | None) -> Pairs | None:
    decided = decided_pairs(prompt, oracle, second)
    return None if decided is None else decided.scored(score)


def test_pairs_are_written_with_the_preferred_response_first() -> None:
    found = list_pairs(np.array([0, 0, 0, 1]), np.array([5.0, 1, 2, 9]), np.array([1.0, 3, 3, 0]), None)
    assert found is not None
    assert found.decided.prompt.tolist() == [0, 0]  # the two judged 3 are no pair, nor is a response alone
    assert sorted(zip(found.difference.tolist(), found.decided.margin.tolist(), strict=True)) == [(-4, 2), (-3, 2)]


def test_more_pairs_than_can_be_listed_are_said_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "MOST_PAIRS", 2)
    assert list_pairs(np.zeros(3, dtype=np.int64), np.arange(3.0), np.arange(3.0), None) is None


def test_scores_at_the_end_of_the_range_have_a_finite_difference() -> None:
    found = list_pairs(np.zeros(2, dtype=np.int64), np.array([1e308, -1e308]), np.array([1.0, 0]), None)
    assert found is not None
    assert np.isfinite(found.difference**2).all()


def test_accuracy_rises_with_the_margin_where_noise_is_the_same_everywhere() -> None:
    # judged 0, 1, 2, 3 and scored 1, 0, 3, 2: pairs one apart are right in 1 of 3 cases, two and three apart always
    found = list_pairs(np.zeros(4, dtype=np.int64), np.array([1.0, 0, 3, 2]), np.arange(4.0), None)
    assert found is not None
    sums = PairSums(found, margin_numbers, np.array([4.0])).contributions(None)[0]
    values = [each.value for each in margin_accuracies(sums, None, 1)]
    assert values == [pytest.approx(1 / 3), None, pytest.approx(1.0), pytest.approx(1.0)]


def test_bins_hold_equally_many_and_equal_values_stay_together() -> None:
    assert np.bincount(equal_mass_bins(np.arange(100.0), 10)).tolist() == [10] * 10
    assert len(set(equal_mass_bins(np.array([1.0, 1, 1, 1, 2]), 4)[:4])) == 1


def test_second_clusters_weigh_a_pair_by_both_of_its_responses() -> None:
    generator = np.random.default_rng(0)
    prompt, second = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    found = list_pairs(prompt, generator.standard_normal(30), generator.standard_normal(30), second)
    assert found is not None

    def numbers(pairs: Pairs) -> list[Binned]:
        return [Binned(pairs.difference), Binned(pairs.decided.margin, (pairs.decided.prompt % 2).astype(np.uint8), 2)]

    column = PairSums(found, numbers, np.full(6, 5.0))
    w, v = generator.integers(0, 3, (4, 6)).astype(float), generator.integers(0, 3, (4, 5)).astype(float)
    assert found.decided.seconds is not None
    for draw in range(4):
        weight = w[draw, found.decided.prompt] * v[draw, found.decided.seconds[0]] * v[draw, found.decided.seconds[1]]
        odd = found.decided.prompt % 2 == 1
        expected = [
            (weight * found.difference).sum(),
            (weight * found.decided.margin)[~odd].sum(),
            (weight * found.decided.margin)[odd].sum(),
        ]
        assert column.crossed(w, v)[draw, 1:] == pytest.approx(expected)
    # every weight one: the plain sums
    assert column.crossed(np.ones((1, 6)), np.ones((1, 5)))[0] == pytest.approx(column.contributions(None)[0].sum(0))


def test_too_many_pairs_to_weigh_are_missing_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "MOST_WEIGHTED_PAIRS", 2)
    found = list_pairs(np.zeros(3, dtype=np.int64), np.arange(3.0), np.arange(3.0), np.arange(3))
    assert found is not None
    column = PairSums(found, lambda pairs: [Binned(pairs.decided.margin)], np.array([3.0]))
    assert np.isnan(column.crossed(np.ones((2, 1)), np.ones((2, 3)))).all()


def test_sums_are_the_same_however_few_pairs_are_taken_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    prompt = np.sort(generator.integers(0, 40, 200))  # of 0 to 12 responses
    score, oracle = generator.standard_normal(200), generator.integers(0, 4, 200).astype(float)
    found = list_pairs(prompt, score, oracle, None)
    assert found is not None
    apart = [(i, j) for i in range(200) for j in range(200) if prompt[i] == prompt[j] and oracle[i] > oracle[j]]
    assert sorted(zip(found.decided.preferred.tolist(), found.decided.other.tolist(), strict=True)) == apart

    def sums() -> Floats:
        return PairSums(found, margin_numbers, np.ones(40)).contributions(None)[0]

    together = sums()
    assert together[:, 5:].sum() == len(apart)
    right = [(score[i] > score[j]) for i, j in apart]
    assert together[:, 1:5].sum() == sum(right)
    monkeypatch.setattr(pairs_module, "_PAIRS_IN_A_BLOCK", 7)  # prompts stand across blocks
    np.testing.assert_array_equal(sums(), together)

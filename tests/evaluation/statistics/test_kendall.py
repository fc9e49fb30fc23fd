"""Kendall's tau-b of all rows as sums over rows: exact as a point, first order in a bootstrap sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.kendall import kendall_terms


def dense(values: list[int]) -> Ints:
    return np.unique(np.array(values, dtype=np.int64), return_inverse=True)[1]


def by_listing(x: Ints, y: Ints) -> Floats:
    sign_x, sign_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    return np.array([(sign_x * sign_y).sum(), (sign_x != 0).sum(), (sign_y != 0).sum()], dtype=np.float64)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=60))
def test_sums_over_rows_are_what_listing_the_pairs_gives(rows: list[tuple[int, int]]) -> None:
    x, y = (dense(list(values)) for values in zip(*rows, strict=True))
    np.testing.assert_allclose(kendall_terms(x, y).sum(axis=1) * len(x), by_listing(x, y), atol=1e-9)


def test_four_rows_by_hand() -> None:
    # pairs of (1, 1), (2, 3), (3, 2), (4, 4): only (2, 3) with (3, 2) is discordant, so (5 - 1) / 6
    terms = kendall_terms(dense([1, 2, 3, 4]), dense([1, 3, 2, 4])).sum(axis=1)
    assert terms[0] / np.sqrt(terms[1] * terms[2]) == pytest.approx(4 / 6)


def test_a_hundred_thousand_rows_with_ties_agree_with_scipy() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 5000, 100_000)
    y = (x + generator.integers(0, 5000, 100_000)) // 7
    terms = kendall_terms(dense(x.tolist()), dense(y.tolist())).sum(axis=1)
    assert terms[0] / np.sqrt(terms[1] * terms[2]) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


def test_first_order_draws_spread_as_resampled_rows_do() -> None:
    generator = np.random.default_rng(1)
    x = generator.integers(0, 12, 300)
    y = x + generator.integers(0, 12, 300)
    terms = kendall_terms(dense(x.tolist()), dense(y.tolist()))
    exact, first_order = [], []
    for _ in range(400):
        drawn = generator.integers(300, size=300)
        exact.append(stats.kendalltau(x[drawn], y[drawn])[0])
        total = terms[:, drawn].sum(axis=1)
        first_order.append(total[0] / np.sqrt(total[1] * total[2]))
    assert np.std(first_order) == pytest.approx(np.std(exact), rel=0.03)
    assert np.corrcoef(first_order, exact)[0, 1] > 0.98

"""Several runs as one: formulas by hand, and intervals that hold what they claim to hold."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from evaluation.statistics.combining import Spread, Sums, inverse_variance, mean, plain_terms, weighted_terms


def sums(y: list[float], s: list[float], runs: list[int] | None = None, *, weighted: bool) -> Sums:
    """As the database makes them of rows whose intervals reach 1.96 standard errors to either side."""
    runs = list(range(len(y))) if runs is None else runs
    w = [1 / each**2 for each in s] if weighted else [1.0] * len(y)
    moved: dict[int, float] = {}
    for run, weight, error in zip(runs, w, s, strict=True):
        moved[run] = moved.get(run, 0.0) + weight * error
    spread = sum(each**2 for each in moved.values())
    return Sums(
        n=len(y),
        n_runs=len(moved),
        weight=sum(w),
        weighted=sum(a * b for a, b in zip(w, y, strict=True)),
        squares=sum(a * b * b for a, b in zip(w, y, strict=True)),
        spread=Spread(spread, 1.959964**2 * spread, 1.959964**2 * spread),
    )


def test_two_plain_numbers() -> None:
    found = inverse_variance(sums([1.0, 2.0], [0.1, 0.2], weighted=True), correlation=False)

    assert found.estimate == pytest.approx(1.2)  # (100 * 1 + 25 * 2) / 125
    assert found.standard_error == pytest.approx(1 / math.sqrt(125))
    assert found.upper == pytest.approx(1.2 + 1.959964 / math.sqrt(125))
    assert found.heterogeneity == pytest.approx(0.95)  # Q = 20 of 1 degree of freedom


def test_numbers_alike_are_not_heterogeneous_and_one_alone_says_nothing_of_it() -> None:
    assert inverse_variance(sums([0.3, 0.3], [0.1, 0.1], weighted=True), False).heterogeneity == 0.0
    assert inverse_variance(sums([0.3], [0.1], weighted=True), False).heterogeneity is None
    assert inverse_variance(sums([0.3, 0.5], [0.1, 0.1], [7, 7], weighted=True), False).heterogeneity is None


def columns(*rows: tuple[float, float, float, float]) -> list[npt.NDArray[np.float64]]:
    """Estimates, standard errors, lower and upper ends."""
    return [np.array(column) for column in zip(*rows, strict=True)]


def test_a_correlation_counts_on_the_scale_of_its_atanh_and_anything_else_on_its_own() -> None:
    rows = columns((0.5, 0.075, math.tanh(0.4), math.tanh(0.8)), (0.5, 0.1, 0.2, 0.9))
    found = weighted_terms(np.array([True, False]), *rows)

    z = math.atanh(0.5)
    assert found.y == pytest.approx([z, 0.5])
    assert found.s == pytest.approx([0.1, 0.1])
    assert found.w == pytest.approx([100, 100])
    assert found.below == pytest.approx([z - 0.4, 0.3])
    assert found.above == pytest.approx([0.8 - z, 0.4])


nan = math.nan
WITHOUT_WEIGHT = {
    "no estimate": (nan, nan, nan, nan),
    "no error": (0.5, nan, 0.4, 0.6),
    "no lower end": (0.5, 0.1, nan, 0.6),
    "an error of nothing": (0.5, 0.0, 0.5, 0.5),
    "an end past all measure": (0.5, 0.1, 0.4, math.inf),
    "an estimate past all measure": (1e51, 0.1, 0.4, 0.6),
}


@pytest.mark.parametrize("what", WITHOUT_WEIGHT)
def test_what_has_no_whole_interval_has_no_weight_and_in_a_mean_no_error(what: str) -> None:
    rows = columns(WITHOUT_WEIGHT[what], (0.5, 0.1, 0.4, 0.6))
    for correlation in (False, True):
        assert np.isnan(weighted_terms(np.array([correlation] * 2), *rows).w).tolist() == [True, False]
    plain = plain_terms(*rows)
    counts = what not in {"no estimate", "an estimate past all measure"}
    assert np.isnan(plain.w).tolist() == [not counts, False]
    whole = what in {"an error of nothing", "an estimate past all measure"}
    assert np.isnan(plain.s).tolist() == [not whole, False]


@pytest.mark.parametrize("r", [1.0, -1.0, 1.5])
def test_a_correlation_without_an_atanh_has_no_weight(r: float) -> None:
    rows = columns((r, 0.1, r - 0.1, r + 0.1))
    assert np.isnan(weighted_terms(np.array([True]), *rows).w).all()
    assert weighted_terms(np.array([False]), *rows).w == pytest.approx(100)


def test_an_interval_never_ends_on_the_wrong_side() -> None:
    [below], [above] = plain_terms(*columns((0.5, 0.1, 0.6, 0.4)))[3:]
    assert (below, above) == (0.0, 0.0)


def test_errors_of_one_run_are_added_and_of_two_are_not() -> None:
    together = mean(sums([0.2, 0.4], [0.1, 0.1], [1, 1], weighted=False))
    apart = mean(sums([0.2, 0.4], [0.1, 0.1], weighted=False))

    assert together.standard_error == pytest.approx(0.1)
    assert apart.standard_error == pytest.approx(0.1 / math.sqrt(2))


def test_a_correlation_stays_inside_its_range() -> None:
    near = inverse_variance(sums([math.atanh(0.99)], [0.5], weighted=True), correlation=True)
    assert near.lower is not None
    assert near.upper is not None
    assert 0.9 < near.lower < near.estimate < near.upper < 1
    assert near.standard_error == pytest.approx(0.5 * (1 - 0.99**2))


def test_an_interval_is_as_skewed_as_those_it_is_made_of_and_of_one_row_the_same() -> None:
    # of one row with [0.2, 0.9] about 0.6, and of two alike and apart: half of sqrt(2) times as far
    alone = mean(Sums(1, 1, 1.0, 0.6, 0.36, Spread(0.1**2, 0.4**2, 0.3**2)))
    assert (alone.estimate, alone.lower, alone.upper) == pytest.approx((0.6, 0.2, 0.9))
    two = mean(Sums(2, 2, 2.0, 1.2, 0.72, Spread(2 * 0.1**2, 2 * 0.4**2, 2 * 0.3**2)))
    assert (two.lower, two.upper) == pytest.approx((0.6 - 0.4 / math.sqrt(2), 0.6 + 0.3 / math.sqrt(2)))


def test_the_interval_holds_the_runs_weighted_average_whether_or_not_they_are_alike() -> None:
    made = np.random.default_rng(0)
    s = np.array([0.05, 0.1, 0.1, 0.2])
    for truth in (np.full(4, 0.4), np.array([0.1, 0.9, 0.3, 0.6])):
        target = np.average(truth, weights=1 / s**2)
        held = 0
        for y in made.normal(truth, s, size=(2000, 4)):
            found = inverse_variance(sums(list(y), list(s), weighted=True), correlation=False)
            assert found.lower is not None
            assert found.upper is not None
            held += found.lower <= target <= found.upper
        assert held / 2000 == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_the_interval_holds_at_least_as_often_however_a_runs_rows_depend_on_each_other() -> None:
    made = np.random.default_rng(1)
    for shared in (0.0, 0.5, 1.0):
        common, own = made.normal(size=(2000, 1)), made.normal(size=(2000, 3))
        y = 0.1 * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)
        found = [mean(sums(list(each), [0.1] * 3, [1, 1, 1], weighted=False)) for each in y]
        held = np.mean([each.lower <= 0 <= each.upper for each in found])  # type: ignore[operator]
        assert held >= 0.935

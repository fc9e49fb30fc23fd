"""The bootstrap's draws and intervals."""

import numpy as np
import pytest

from evaluation.statistics import bootstrap
from evaluation.statistics.bootstrap import Bootstrap, Contributions, Floats
from evaluation.statistics.few_prompts import NOTHING_MOVES
from evaluation.statistics.interval import Interval, percentile_interval


class Values(Contributions):
    """A column whose sums are given."""

    def __init__(self, sums: Floats) -> None:
        self.width = sums.shape[1]
        self._sums = sums

    def contributions(self, weights: Floats | None) -> Floats:
        return self._sums[None] if weights is None else weights.sum(axis=1)[:, None, None] * self._sums


def test_each_draw_takes_as_many_prompts_as_there_are() -> None:
    [totals] = Bootstrap(50, None, 300, seed=1).totals([Values(np.ones((50, 1)))])
    assert totals.tolist() == [[50.0]] * 300


def test_the_mean_of_draws_has_the_sampling_error_of_a_mean() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    [totals] = Bootstrap(400, None, 4000, seed=2).totals([Values(values[:, None])])
    # 4,000 draws know a standard deviation to 1.1 %
    assert (totals / 400).std() == pytest.approx(values.std() / 20, rel=0.05)
    assert (totals / 400).mean() == pytest.approx(values.mean(), abs=4 * values.std() / 20 / np.sqrt(4000))


def test_draws_depend_on_the_seed_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Values(np.random.default_rng(seed).standard_normal((30, 2))) for seed in range(3)]
    together = Bootstrap(30, None, 40, seed=3).totals(columns)
    monkeypatch.setattr(bootstrap, "_NUMBERS_IN_A_BLOCK", 70)  # two draws at a time
    monkeypatch.setattr(bootstrap, "_NUMBERS_IN_A_GROUP", 60)  # one column at a time
    apart = Bootstrap(30, None, 40, seed=3).totals(columns)
    for left, right in zip(together, apart, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)
    [other] = Bootstrap(30, None, 40, seed=4).totals(columns[:1])
    assert not np.allclose(other, together[0])


def test_draws_are_the_same_however_many_cores_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Values(np.random.default_rng(seed).standard_normal((30, 2))) for seed in range(3)]
    for n_second in (None, 5):
        found = []
        for cores in (1, 3):
            monkeypatch.setattr("evaluation.statistics.cores._cores", lambda cores=cores: cores)
            found.append(np.stack(Bootstrap(30, n_second, 1_100, seed=3).totals(columns)))  # four streams and a half
        assert found[0].shape == (3, 1_100, 2)
        np.testing.assert_array_equal(*found)


def test_no_two_streams_of_draws_are_alike() -> None:
    draws = np.concatenate(list(Bootstrap(40, None, 1_000, seed=3).weights(1)))
    assert len(np.unique(draws, axis=0)) == 1_000


def test_a_second_cluster_is_drawn_independently_of_the_prompts() -> None:
    ones = Values(np.ones((20, 1)))
    [totals] = Bootstrap(20, 7, 200, seed=5).totals([ones])
    assert totals.tolist() == [[140.0]] * 200  # 20 prompts times 7 policies, however they are drawn
    square = Bootstrap(20, 20, 50, seed=5)
    [[prompts], [policies]] = [stream.weights(20, 50) for which in (0, 1) for stream in square._streams(which)]
    assert abs(np.corrcoef(prompts.ravel(), policies.ravel())[0, 1]) < 0.1  # of 1,000 pairs, the error is 0.03


def test_the_interval_holds_the_middle_of_the_draws() -> None:
    found = percentile_interval(np.arange(101) / 100, 0.9, "plain")
    assert [found.lower, found.upper] == pytest.approx([0.05, 0.95])
    assert found.standard_error == pytest.approx(np.std(np.arange(101) / 100, ddof=1))


def test_correlations_are_interpolated_between_their_atanh() -> None:
    found = percentile_interval(np.tanh([-2.0, 0.0, 2.0]), 0.5, "atanh")
    assert [found.lower, found.upper] == pytest.approx(np.tanh([-1.0, 1.0]))


def test_draws_that_never_move_are_no_certainty() -> None:
    perfect, constant = np.array([1.0, 1 - 1e-16, np.nan] * 10)[:30], np.full(10, 7.3)
    perfect[3:] = 1.0
    for draws, scale in ((perfect, "atanh"), (constant, "plain")):
        assert percentile_interval(draws, 0.95, scale) == Interval(None, None, None, NOTHING_MOVES)


def test_a_few_undefined_draws_are_left_out_and_many_leave_no_interval() -> None:
    draws = np.linspace(0, 1, 100)
    draws[:10] = np.nan
    assert percentile_interval(draws, 0.95, "plain").lower is not None
    draws[:11] = np.nan
    found = percentile_interval(draws, 0.95, "plain")
    assert found.lower is None
    assert found.undefined_reason == "undefined in 11 of 100 bootstrap draws"

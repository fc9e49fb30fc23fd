"""Two samples: how far one has moved from the other, and how sure that is."""

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.drift import Clustered, least_size, moved, share, share_moved


def alone(values: Floats) -> Clustered:
    """Every row a prompt of its own."""
    return Clustered(np.asarray(values, dtype=np.float64), np.arange(len(values)))


def test_the_distance_is_the_largest_gap_of_the_distribution_functions() -> None:
    # F is 1/2 from 0 on and 1 from 1 on; G is 1/4 from 0 on and 1 from 2 on: they part by 3/4 between 1 and 2
    found = moved(alone(np.tile([0.0, 0, 1, 1], 3)), alone(np.tile([0.0, 2, 2, 2], 3)), draws=100)
    assert found.distance.estimate == pytest.approx(0.75)
    # means 1/2 and 3/2, and the earlier one's standard deviation sqrt(3)/2
    assert found.shift.estimate == pytest.approx(-2 / 3**0.5)


def test_the_distance_is_that_of_scipy_and_its_bound_that_of_kolmogorov() -> None:
    generator = np.random.default_rng(1)
    now, before = generator.normal(0.3, 1, 400), generator.normal(0, 1, 600)
    found = moved(alone(now), alone(before), draws=2000).distance
    assert found.estimate == pytest.approx(stats.ks_2samp(now, before).statistic)
    assert found.estimate is not None
    assert found.lower is not None
    asymptotic = stats.kstwobign.ppf(0.95) * np.sqrt(1 / 400 + 1 / 600)
    assert found.estimate - found.lower == pytest.approx(asymptotic, rel=0.08)


def test_the_shift_has_the_interval_of_scipys_bootstrap() -> None:
    generator = np.random.default_rng(2)
    now, before = generator.normal(0.5, 1, 200), generator.normal(0, 1, 300)

    def shift(a: Floats, b: Floats, axis: int) -> Floats:
        return np.asarray((a.mean(axis) - b.mean(axis)) / b.std(axis))

    expected = stats.bootstrap((now, before), shift, n_resamples=4000, method="percentile", rng=3).confidence_interval
    found = moved(alone(now), alone(before), draws=4000).shift
    assert (found.lower, found.upper) == (pytest.approx(expected.low, abs=0.02), pytest.approx(expected.high, abs=0.02))


@pytest.mark.parametrize("k", [1, 8])
def test_where_nothing_moved_the_lower_end_is_0_in_19_of_20_studies(k: int) -> None:
    generator = np.random.default_rng(k)

    def sample() -> Clustered:  # responses to one prompt score nearly alike
        prompts = np.repeat(np.arange(60), k)
        return Clustered(generator.normal(size=60)[prompts] + 0.1 * generator.normal(size=60 * k), prompts)

    alarms = sum((moved(sample(), sample(), draws=100, seed=each).distance.lower or 0) > 0 for each in range(100))
    assert alarms <= 11  # of 100 at 5 %, five are expected; the standard deviation is 2.2
    if k > 1:  # rows taken for independent would cry wolf in most of them
        cries = [moved(*(alone(sample().values) for _ in "ab"), draws=100, seed=each) for each in range(20)]
        assert sum((each.distance.lower or 0) > 0 for each in cries) > 10


def test_a_real_move_is_seen() -> None:
    generator = np.random.default_rng(5)
    found = moved(alone(generator.normal(1, 1, 500)), alone(generator.normal(0, 1, 500)))
    true = 2 * stats.norm.cdf(0.5) - 1  # of two normals one standard deviation apart
    assert found.distance.lower is not None
    assert found.distance.upper is not None
    assert 0.2 < found.distance.lower < true < found.distance.upper


def test_of_nine_prompts_on_either_side_nothing_is_told_and_of_ten_both_numbers_are() -> None:
    ten, nine, many = (Clustered(np.arange(5.0 * n) % 7, np.repeat(np.arange(n), 5)) for n in (10, 9, 40))
    for pair in ((nine, many), (many, nine)):
        for each in (moved(*pair, draws=50).distance, moved(*pair, draws=50).shift):
            assert (each.estimate, each.lower) == (None, None)
            assert each.undefined_reason == "an interval at 95 % needs 10 prompts on either side"
    for each in (moved(ten, ten, draws=50).distance, moved(ten, ten, draws=50).shift):
        assert each.lower is not None
    # 2^(1 - 10) = 0.2 %: at 99.9 % the general rule asks for more
    surer = moved(ten, ten, draws=50, confidence=0.999).distance.undefined_reason
    assert surer == "an interval at 99.9 % needs 11 prompts on either side"


def test_a_constant_sample_has_no_shift() -> None:
    constant = alone(np.ones(10))
    found = moved(constant, constant, draws=100)
    assert (found.distance.estimate, found.distance.lower) == (0.0, 0.0)
    assert found.shift.undefined_reason == "the earlier sample is constant"


def test_a_difference_of_shares_is_newcombes() -> None:
    found = share_moved((56, 70), (48, 80))  # example (a) of Newcombe 1998, method 10
    assert (found.estimate, found.lower, found.upper) == (
        pytest.approx(0.2),
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )
    assert least_size(found) == found.lower
    assert least_size(share_moved((48, 80), (56, 70))) == pytest.approx(0.0524, abs=5e-5)
    none = share_moved((0, 50), (0, 50))
    assert (none.estimate, least_size(none)) == (0.0, 0.0)
    assert none.upper is not None
    assert none.upper > 0.05
    assert share_moved((0, 0), (1, 2)).undefined_reason == "nothing to count"


def test_both_samples_are_told_by_their_quantiles() -> None:
    found = moved(alone(np.arange(201.0)), alone(np.full(10, 1 / 3)), draws=50)
    assert found.now[:3] == (0.0, 2.0, 4.0)
    assert (len(found.now), found.now[50], found.now[-1]) == (101, 100.0, 200.0)
    assert set(found.before) == {0.333333}


def test_a_share_is_told_with_its_wilson_interval() -> None:
    found = share((81, 263))  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
    assert (found.lower, found.upper) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert share((0, 0)).undefined_reason == "nothing to count"

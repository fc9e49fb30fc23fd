"""A thinned curve keeps its ends and its peaks and shows only measured points."""

from hypothesis import given
from hypothesis import strategies as st

from service.db.downsample import downsample


def test_a_short_curve_is_left_alone() -> None:
    assert downsample([(1, 5.0), (2, 6.0)], 2) == [(1, 5.0), (2, 6.0)]
    assert downsample([], 10) == []


def test_a_spike_survives() -> None:
    flat = [(step, 0.0) for step in range(100)]
    flat[37] = (37, 9.0)

    thinned = downsample(flat, 10)

    assert len(thinned) == 10
    assert (37, 9.0) in thinned


def test_two_points_are_the_ends() -> None:
    assert downsample([(step, float(step**2)) for step in range(9)], 2) == [(0, 0.0), (8, 64.0)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(2, 50))
def test_the_points_shown_were_measured_and_stay_in_order(values: list[float], max_points: int) -> None:
    points = list(enumerate(values))

    thinned = downsample(points, max_points)

    assert len(thinned) == min(len(points), max_points)
    assert set(thinned) <= set(points)
    assert thinned == sorted(thinned)
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])

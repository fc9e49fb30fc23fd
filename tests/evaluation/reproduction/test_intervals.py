"""Intervals of the study are Student's t over seeds."""

import pytest

from evaluation.reproduction.intervals import over_seeds


def test_three_seeds_by_hand() -> None:
    interval = over_seeds([1.0, 2.0, 3.0])
    # s = 1 and t with two degrees of freedom is 4.3027 (Student's table), so half is 4.3027 / sqrt 3
    assert interval.estimate == pytest.approx(2.0)
    assert interval.lower == pytest.approx(2 - 2.4842, abs=1e-4)
    assert interval.upper == pytest.approx(2 + 2.4842, abs=1e-4)


def test_seeds_that_agree_leave_no_doubt_about_themselves() -> None:
    interval = over_seeds([0.25, 0.25])
    assert (interval.lower, interval.upper) == (0.25, 0.25)

"""Area under the curve and calibration error, by hand and against scipy."""

import math
import random

import pytest
from scipy import stats

from trainer.recipes.classification import area_under_curve, calibration_error


def test_the_area_counts_pairs_in_order_and_ties_half() -> None:
    # 3 > 1, 3 > 2, 2 > 1, 2 = 2
    assert area_under_curve([3, 2], [1, 2]) == pytest.approx(3.5 / 4)
    assert math.isnan(area_under_curve([1], []))


def test_the_area_is_mann_whitneys() -> None:
    rng = random.Random(0)
    positive, negative = [rng.randrange(20) for _ in range(50)], [rng.randrange(15) for _ in range(70)]
    expected = stats.mannwhitneyu(positive, negative).statistic / (50 * 70)
    assert area_under_curve(positive, negative) == pytest.approx(expected)


def test_calibration_error_of_two_bins_worked_by_hand() -> None:
    # bin .1-.2: two of mean .15, one right, off by .35 each; bin .9-1: one of .95, right, off by .05
    assert calibration_error([0.1, 0.2 - 1e-9, 0.95], [True, False, True]) == pytest.approx((0.7 + 0.05) / 3)
    assert calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert math.isnan(calibration_error([], []))

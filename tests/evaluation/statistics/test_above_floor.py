"""Means on the scale where garbage has 0, worked by hand."""

import pytest

from evaluation.statistics.above_floor import above_floor
from evaluation.statistics.estimate import Estimate

MEAN = Estimate(
    scorer="o", oracle="o", statistic="mean", estimate=0.66, lower=0.49, upper=0.83, standard_error=0.085,
    n_prompts=4, n_responses=8, n_dropped=1, method="bootstrap",
)  # fmt: skip


def test_the_mean_and_its_interval_are_moved_alike() -> None:
    found = above_floor(MEAN, 0.15)

    assert [found.estimate, found.lower, found.upper, found.standard_error] == pytest.approx([0.6, 0.4, 0.8, 0.1])
    assert (found.statistic, found.method, found.n_dropped) == ("mean_above_floor", "bootstrap; floor 0.15", 1)


def test_what_cannot_be_told_from_garbage_is_undefined_with_a_reason() -> None:
    found = Estimate.model_validate(above_floor(MEAN, 1.0).model_dump())

    assert (found.estimate, found.lower, found.undefined_reason) == (
        None, None, "garbage reaches 1, so nothing is above the floor",
    )  # fmt: skip

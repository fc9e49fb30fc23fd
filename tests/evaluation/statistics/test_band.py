"""Several networks of one kind in one line, worked by hand."""

import pytest

from evaluation.statistics.band import band
from evaluation.statistics.estimate import Estimate


def member(value: float | None, n_responses: int = 8) -> Estimate:
    missing = value is None
    return Estimate(
        scorer="x", oracle="gold", statistic="pearson_within", temperature=1.5, estimate=value,
        lower=None if missing else -1.0, upper=None if missing else 1.0, standard_error=None if missing else 0.5,
        n_prompts=4, n_responses=n_responses, n_dropped=0, method="m", undefined_reason="constant" if missing else None,
    )  # fmt: skip


def test_the_band_is_the_median_the_least_and_the_greatest() -> None:
    found = band([member(0.1), member(-0.2), member(0.4, 9), member(None)], "untrained")

    assert (found.scorer, found.oracle, found.statistic, found.temperature) == (
        "untrained", "gold", "pearson_within", 1.5,
    )  # fmt: skip
    assert (found.estimate, found.lower, found.upper, found.n_responses) == (0.1, -0.2, 0.4, 9)
    assert found.standard_error == pytest.approx(0.3)  # deviations 0, -0.3, 0.3: sqrt(0.18 / 2)
    assert found.method == "median, least and greatest of 3 untrained networks"
    assert found.undefined_reason is None


def test_a_band_of_nothing_says_why() -> None:
    found = band([member(None), member(None)], "untrained")

    assert (found.estimate, found.lower, found.undefined_reason) == (None, None, "constant")

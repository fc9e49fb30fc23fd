"""A metric is told by its last value and a small drawing of its course."""

import pytest

from service.dashboard.metrics import course, metric_rows, significant
from service.db.records import MetricSeries


def test_a_course_runs_from_left_to_right_and_from_its_lowest_to_its_highest_value() -> None:
    # 120 wide, 24 high, y downwards: 1 is the lowest, 3 the highest, 2 halfway
    assert course([(10, 1.0), (15, 3.0), (20, 2.0)]) == "M0.0 24.0L60.0 0.0L120.0 12.0"


def test_a_constant_course_is_a_line_in_the_middle_and_a_single_point_is_none() -> None:
    assert course([(0, 5.0), (1, 5.0)]) == "M0.0 12.0L120.0 12.0"
    assert course([(0, 5.0)]) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0000"),
        (0.69314718, "0.6931"),
        (-1.5, "\N{MINUS SIGN}1.5000"),
        (1234.56, "1234.6"),
        (400.0, "400"),
        (1.0, "1.0000"),
        (5e-7, "5.00e\N{MINUS SIGN}07"),
    ],
)
def test_numbers_are_short_and_keep_what_matters(value: float, shown: str) -> None:
    assert significant(value) == shown


def test_a_row_tells_where_a_metric_stands_and_an_empty_series_has_none() -> None:
    full = MetricSeries(stage="train", name="loss", points=[(1, 2.0), (2, 1.0)])
    empty = MetricSeries(stage="train", name="other", points=[])

    (row,) = metric_rows([full, empty])
    assert (row.stage, row.name, row.step, row.latest) == ("train", "loss", 2, "1.0000")

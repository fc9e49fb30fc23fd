"""A statistic over time: a line for each name, broken where undefined, controls grey and last."""

import json
from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go

from evaluation.figures import Drawing
from evaluation.figures.history import history
from evaluation.figures.style import GREY
from evaluation.statistics.estimate import Estimated

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def estimated(value: float | None) -> Estimated:
    known = value is not None
    return Estimated(
        oracle="judge",
        estimate=value,
        lower=value - 0.1 if value is not None else None,
        upper=value + 0.2 if value is not None else None,
        standard_error=0.05 if known else None,
        n_prompts=10,
        n_responses=40,
        n_dropped=0,
        method="by hand",
        undefined_reason=None if known else "constant",
    )


def checked(drawing: Drawing) -> go.Figure:
    """As plotly takes it, which refuses what it does not know."""
    return go.Figure(json.loads(drawing.figure.to_json()))


def course(*values: float | None) -> list[tuple[datetime, Estimated]]:
    return [(FIRST + timedelta(days=day), estimated(value)) for day, value in enumerate(values)]


def test_each_name_is_a_line_with_whiskers_and_gaps() -> None:
    drawing = history({"length": course(0.1), "rm": course(0.5, None, 0.7)}, "pearson_within", "judge", {"length"})

    rm, length = checked(drawing).data
    assert (rm.name, length.name) == ("rm", "length")
    assert list(rm.y) == [0.5, None, 0.7]
    assert rm.connectgaps is False
    assert [round(each, 6) for each in rm.error_y.array] == [0.2, 0.0, 0.2]
    assert [round(each, 6) for each in rm.error_y.arrayminus] == [0.1, 0.0, 0.1]
    assert "constant" in rm.text[1]
    assert length.line.color == GREY != rm.line.color
    assert drawing.title == "r within prompts with judge over time"


def test_correlations_share_their_range_and_other_statistics_find_their_own() -> None:
    assert checked(history({"rm": course(0.5)}, "pearson_within", "judge")).layout.yaxis.range is not None
    assert checked(history({"rm": course(40.0)}, "best_of_n_regret", "judge")).layout.yaxis.range is None


def test_a_single_moment_stands_among_days_and_runs_of_one_day_among_hours() -> None:
    def ends(*courses: list[tuple[datetime, Estimated]]) -> list[datetime]:
        named = {str(place): each for place, each in enumerate(courses)}
        found: list[datetime] = history(named, "pearson_within", "judge").figure.layout["xaxis"]["range"]
        return found

    later = (FIRST + timedelta(hours=2), estimated(0.6))
    days, hours = timedelta(days=3), timedelta(hours=12)
    assert ends(course(0.5), course(0.4)) == [FIRST - days, FIRST + days]
    assert ends([*course(0.5), later]) == [FIRST - hours, later[0] + hours]


def test_many_names_are_told_apart() -> None:
    figure = checked(history({f"policy-{n}": course(0.5) for n in range(12)}, "pearson_within", "judge"))

    assert len({(line.line.color, line.line.dash, line.marker.symbol) for line in figure.data}) == 12

"""What is drawn of production scoring: agreement audit by audit, and the latest scores beside their reference."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import plotly.graph_objects as go
import pytest

from evaluation.figures import Drawing
from evaluation.figures.drift import drift
from evaluation.figures.drift_over_time import drift_over_time
from evaluation.figures.style import GREY, RED
from evaluation.figures.trust import trust
from evaluation.statistics.drift import Clustered, Counted, Moved, moved, share
from evaluation.statistics.estimate import Estimated

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def audited(value: float | None) -> Estimated:
    ends = (None, None) if value is None else (value - 0.1, value + 0.2)
    return Estimated(
        **{"oracle": "judge", "estimate": value, "lower": ends[0], "upper": ends[1]},
        **{"standard_error": None if value is None else 0.05, "n_prompts": 10, "n_responses": 40, "n_dropped": 0},
        **{"method": "by hand", "undefined_reason": "constant" if value is None else None},
    )


def checked(drawing: Drawing) -> go.Figure:
    """As plotly takes it, which refuses what it does not know."""
    return go.Figure(json.loads(drawing.figure.to_json()))


def course(*values: float | None) -> list[tuple[datetime, Estimated]]:
    return [(FIRST + timedelta(hours=hour), audited(value)) for hour, value in enumerate(values)]


def test_each_oracle_has_a_line_in_bands_that_break_where_an_audit_measured_nothing() -> None:
    drawing = trust("rm@3:score", {"judge": course(0.5, 0.4, None, 0.3)}, "pearson_pooled", 0.25)
    first, alone, line = checked(drawing).data
    assert [round(each, 6) for each in first.y] == [0.7, 0.6, 0.3, 0.4]  # upper ends forth, lower ends back
    assert first.fill == "toself"
    assert [round(each, 6) for each in alone.y] == [0.5, 0.2]
    assert alone.line.width > 0, "a band of one audit has no area"
    assert list(line.y) == [0.5, 0.4, None, 0.3]
    assert line.connectgaps is False
    assert "40 responses, 10 prompts" in line.text[0]
    assert "below the dashed line, 0.25" in drawing.caption
    assert drawing.name == "trust-rm-3-score"


def test_the_operators_bound_is_a_red_line_and_none_is_drawn_where_there_is_none() -> None:
    def levels(least: float | None) -> dict[str, float]:
        figure = checked(trust("rm", {"judge": course(0.5), "other": course(0.6)}, "pearson_pooled", least))
        return {line.line.color: line.y0 for line in figure.layout.shapes}

    assert levels(0.3) == {GREY: 0.0, RED: 0.3}
    assert levels(None) == {GREY: 0.0}
    low, _ = checked(trust("rm", {"judge": course(0.5)}, "pearson_pooled", -0.5)).layout.yaxis.range
    assert low < -0.5, "the bound is within the axis"


def test_drift_over_time_is_broken_where_nothing_was_scored_and_has_the_bound_on_both_sides_of_truncation() -> None:
    def at(hours: float, value: float) -> tuple[datetime, Counted]:
        ends = {"lower": value - 0.1, "upper": value + 0.1}
        return FIRST + timedelta(hours=hours), Counted(estimate=value, **ends, n_responses=100, n_prompts=40)

    course = [at(0, 0.1), at(1, 0.2), at(9, 0.3)]
    drawing = drift_over_time("rm@3:score", {"score": course, "truncated": course}, 0.25)
    lines = {each.name: list(each.y) for each in checked(drawing).data if each.name}
    assert lines == {"score": [0.1, 0.2, None, 0.3], "length": [], "truncated": [0.1, 0.2, None, 0.3]}
    [line] = [each for each in checked(drawing).data if each.name == "score"]
    assert "100 responses, 40 prompts" in line.text[0]
    assert line.text[2].endswith("undefined: too little was scored")
    assert sorted(line.y0 for line in checked(drawing).layout.shapes) == [-0.25, 0.25, 0.25, 0.25]
    assert "beyond the dashed line, 0.25" in drawing.caption


def sample(values: list[float]) -> Clustered:
    return Clustered(np.array(values, dtype=float), np.arange(len(values)))


def test_the_line_between_the_two_distributions_is_as_long_as_the_share_that_moved() -> None:
    # uniform on 0..99 and on 30..129: furthest apart by 0.3
    score = moved(sample([float(n + 30) for n in range(100)]), sample([float(n) for n in range(100)]), draws=50)
    still = moved(sample([10.0, 20.0] * 5), sample([10.0, 20.0] * 5), draws=50)
    drawing = drift("rm@3:score", "validation data", score, still, (share((5, 10)), share((1, 10))))
    before, now, apart, _, _, cut, cut_before = checked(drawing).data
    assert (before.name, now.name) == ("validation data", "the latest")
    assert (before.line.color, len(before.x), before.y[50]) == (GREY, 101, 50)
    assert now.x[0] == 30
    assert abs(apart.y[0] - apart.y[1]) == pytest.approx(30, abs=1)
    assert apart.x[0] == apart.x[1]
    assert (list(cut.y), list(cut_before.y)) == ([50], [10])
    assert cut.error_y.array[0] > 10


def test_what_lies_apart_altogether_and_what_is_constant_is_drawn() -> None:
    apart = moved(sample([30.0] * 10), sample([10.0] * 10), draws=50)
    drawing = drift("rm", "the first kept", apart, apart, (share((0, 5)), share((0, 5))))
    lines = [trace for trace in checked(drawing).data if trace.name is None and trace.mode == "lines"]
    assert [sorted(line.y) for line in lines] == [[0, 100], [0, 100]]
    low, high = checked(drawing).layout.xaxis.range
    assert low < 10
    assert high > 30


def test_a_single_prompt_has_quantiles_and_no_line_between() -> None:
    single = moved(sample([1.0]), sample([2.0]), draws=50)
    assert isinstance(single, Moved)
    drawing = drift("rm", "the first kept", single, single, (share((0, 1)), share((0, 1))))
    assert [trace.name for trace in checked(drawing).data].count(None) == 0

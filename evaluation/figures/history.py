"""One statistic over time: what became of scorers, version by version, or of policies."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.paths import arms, hover
from evaluation.figures.style import AXIS, COLOURS, DASHES, GREY, LAYOUT, SYMBOLS, correlation_range, room_for_legend
from evaluation.statistics.combining import CORRELATIONS
from evaluation.statistics.estimate import Estimated
from evaluation.wording import chance, label

Course = Sequence[tuple[datetime, Estimated]]
"""When, oldest first, and what was measured then."""


def history(courses: Mapping[str, Course], statistic: str, oracle: str, controls: Container[str] = ()) -> Drawing:
    """A line for each name, every number with its interval, broken where there is none; those of ``controls`` grey."""
    learned = [name for name in courses if name not in controls]
    lines = [
        _line(name, courses[name], learned.index(name) if name in learned else None)
        for name in [*learned, *(name for name in courses if name in controls)]
    ]
    level = chance(statistic)
    times = [at for course in courses.values() for at, _ in course]
    # a single run would be told to the microsecond
    margin = max((max(times) - min(times)) * 0.03, timedelta(hours=12))
    rows = [each for course in courses.values() for _, each in course]
    graded = statistic in CORRELATIONS or level
    upright = {"range": correlation_range(rows, level)} if graded else {}
    # all at once: plotly checks each change of a figure by itself, which took four times as long
    figure = go.Figure(
        lines,
        {
            **LAYOUT,
            "xaxis": {**AXIS, "type": "date", "range": [min(times) - margin, max(times) + margin]},
            "yaxis": {**AXIS, "title": {**AXIS["title"], "text": label(statistic)}, **upright},
            "shapes": [
                {
                    **{"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": "y", "y0": level, "y1": level},
                    "line": {"color": GREY, "width": 1},
                }
            ],
        },
    )
    return Drawing(
        file_stem("history", oracle, statistic),
        f"{label(statistic)} with {oracle} over time",
        "Each number with its interval, at the time it was measured. Two whose intervals overlap much are not shown to "
        f"differ; an interval that reaches {level:g}, what chance gives, shows no agreement.",
        room_for_legend(figure),
        oracle,
    )


def _line(name: str, course: Course, place: int | None) -> dict[str, Any]:
    """``place`` among the learned scorers or policies gives colour, symbol and dash; None is a control."""
    colour = GREY if place is None else COLOURS[place % len(COLOURS)]
    dash = "dot" if place is None else DASHES[place // len(COLOURS) % len(DASHES)]
    rows = [each for _, each in course]
    return {
        "type": "scatter",
        "name": name,
        "x": [at.isoformat() for at, _ in course],
        "y": [each.estimate for each in rows],
        "mode": "lines+markers",
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "marker": {"symbol": "circle" if place is None else SYMBOLS[place % len(SYMBOLS)], "size": 7},
        "error_y": {**arms(rows), "thickness": 1.2, "color": colour},
        "connectgaps": False,
        "legendgroup": name,
        "legendrank": 2000 if place is None else 1000,
        "text": [f"{name}, {at:%Y-%m-%d %H:%M}<br>{hover(each)}" for at, each in course],
        "hovertemplate": "%{text}<extra></extra>",
    }

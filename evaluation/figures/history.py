"""One statistic over time: what became of scorers, version by version, or of policies."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.figure import Figure
from evaluation.figures.paths import arms, hover
from evaluation.figures.style import COLOURS, DASHES, GREY, SYMBOLS, correlation_range
from evaluation.statistics.combining import CORRELATIONS
from evaluation.statistics.estimate import Estimated
from evaluation.wording import chance, label

Course = Sequence[tuple[datetime, Estimated]]
"""When, oldest first, and what was measured then."""


def history(courses: Mapping[str, Course], statistic: str, oracle: str, controls: Container[str] = ()) -> Drawing:
    """A line for each name, every number with its interval, broken where there is none; those of ``controls`` grey."""
    learned = [name for name in courses if name not in controls]
    figure = Figure()
    for place, name in enumerate(learned):
        figure.add(**_line(name, courses[name], place))
    for name in (name for name in courses if name in controls):
        figure.add(**_line(name, courses[name], None))
    level = chance(statistic)
    times = [at for course in courses.values() for at, _ in course]
    lasted = max(times) - min(times)
    # a single moment would be told to the microsecond
    margin = max(lasted * 0.03, timedelta(hours=12)) if lasted else timedelta(days=3)
    rows = [each for course in courses.values() for _, each in course]
    graded = statistic in CORRELATIONS or level
    figure.axis("x", type="date", range=[min(times) - margin, max(times) + margin])
    figure.axis("y", title=label(statistic))
    if graded:
        figure.axis("y", range=correlation_range(rows, level))
    figure.level(level)
    figure.room_for_legend()
    return Drawing(
        file_stem("history", oracle, statistic),
        f"{label(statistic)} with {oracle} over time",
        "Each number with its interval. Two whose intervals overlap much are not shown to differ; an interval that "
        f"reaches {level:g}, what chance gives, shows no agreement. Times are in UTC.",
        figure,
        oracle,
    )


def _line(name: str, course: Course, place: int | None) -> dict[str, Any]:
    """``place`` among the learned scorers or policies gives colour, symbol and dash; None is a control."""
    colour = GREY if place is None else COLOURS[place % len(COLOURS)]
    dash = "dot" if place is None else DASHES[place // len(COLOURS) % len(DASHES)]
    rows = [each for _, each in course]
    return {
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

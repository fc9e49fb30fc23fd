"""How far a scorer agrees with oracles on what it is asked in production: audit after audit."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.figure import Figure
from evaluation.figures.history import Course
from evaluation.figures.paths import add_bands, hover
from evaluation.figures.style import BAND, COLOURS, RED, SYMBOLS, correlation_range
from evaluation.statistics.estimate import Estimated
from evaluation.wording import chance, label, number

_HEIGHT = 300


def trust(scorer: str, courses: Mapping[str, Course], statistic: str, least: float | None) -> Drawing:
    """A line and the band of its intervals for each oracle; ``least`` is what the lower end must not fall below."""
    figure = Figure()
    figure.layout["height"] = _HEIGHT
    for place, (oracle, course) in enumerate(courses.items()):
        _add(figure, oracle, course, place)
    rows = [each for course in courses.values() for _, each in course]
    level = chance(statistic)
    figure.level(level)
    if least is not None:
        figure.level(least, {"color": RED, "width": 1.5, "dash": "dash"})
    times = [at for course in courses.values() for at, _ in course]
    margin = max((max(times) - min(times)) * 0.03, timedelta(hours=1))
    figure.axis("x", type="date", range=[min(times) - margin, max(times) + margin])
    low, high = correlation_range(rows, level)
    if least is not None:
        low, high = min(low, least - 0.06), max(high, least + 0.06)
    figure.axis("y", title=label(statistic), range=[low, high])
    if len(courses) > 1:
        figure.room_for_legend()
    else:
        figure.layout["showlegend"] = False
    told = "" if least is None else f" An alert is raised where a band reaches below the dashed line, {number(least)}."
    return Drawing(
        file_stem("trust", scorer),
        f"Agreement of {scorer} with {' and '.join(courses)}, audit by audit",
        f"{label(statistic)} of each audit of the sample, in the band of its intervals.{told} The grey line is what "
        "chance gives: a band that holds it shows no agreement. Times are in UTC.",
        figure,
    )


def _add(figure: Figure, oracle: str, course: Course, place: int) -> None:
    colour = COLOURS[place % len(COLOURS)]
    times: list[datetime] = [at for at, _ in course]
    rows: list[Estimated] = [each for _, each in course]
    add_bands(figure, oracle, times, rows, colour, band=BAND)
    figure.add(
        name=oracle,
        x=times,
        y=[each.estimate for each in rows],
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 6},
        connectgaps=False,
        legendgroup=oracle,
        text=[f"{oracle}, {at:%Y-%m-%d %H:%M}<br>{hover(each)}" for at, each in course],
        hovertemplate="%{text}<extra></extra>",
    )

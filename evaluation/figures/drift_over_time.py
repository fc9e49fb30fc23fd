"""How far what a scorer is asked in production has moved from its reference: measurement after measurement."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.facets import Facets
from evaluation.figures.paths import add_bands
from evaluation.figures.style import BAND, BLUE, RED
from evaluation.statistics.drift import Counted
from evaluation.wording import interval, number

_PANELS = {"score": "Score", "length": "Length", "truncated": "Truncation"}

_GAP = timedelta(hours=6)
_NOTHING = Counted(
    estimate=None, lower=None, upper=None, undefined_reason="too little was scored", n_responses=0, n_prompts=0
)

Moves = Sequence[tuple[datetime, Counted]]
"""When, oldest first, and how much had moved then."""


def drift_over_time(scorer: str, moves: Mapping[str, Moves], most: float | None) -> Drawing:
    """A panel for each measure, its line in the band of its intervals; ``most`` is what an interval must not begin
    above.
    """
    panels = Facets(list(_PANELS.values()), x="", y="share that moved", shared_y=False, panel_height=200, legend=False)
    times = [at for course in moves.values() for at, _ in course]
    margin = max((max(times) - min(times)) * 0.03, timedelta(hours=1))
    for index, measure in enumerate(_PANELS):
        course = _broken(moves.get(measure, ()))
        when, rows = [at for at, _ in course], [each for _, each in course]
        add_bands(panels, measure, when, rows, BLUE, band=BAND, place=index)
        panels.add(
            index,
            name=measure,
            x=when,
            y=[each.estimate for each in rows],
            mode="lines+markers" if len(course) < 50 else "lines",
            line={"color": BLUE, "width": 2},
            marker={"size": 5},
            connectgaps=False,
            text=[f"{at:%Y-%m-%d %H:%M}<br>{_told(each)}" for at, each in course],
            hovertemplate="%{text}<extra></extra>",
        )
        levels = [] if most is None else [most, *([-most] if measure == "truncated" else [])]
        for level in levels:
            panels.level(level, {"color": RED, "width": 1.5, "dash": "dash"}, index)
        panels.axis("y", index, range=_range(course, levels))
    panels.axes(x={"type": "date", "range": [min(times) - margin, max(times) + margin], "nticks": 4})
    told = "" if most is None else f" An alert is raised where a band lies beyond the dashed line, {number(most)}."
    return Drawing(
        file_stem("drift-over-time", scorer),
        f"Drift of {scorer} over time",
        "Which share of the scores, and of the lengths, had moved from the reference, and by how much the share of "
        f"prompts cut was greater, hour by hour, in bands of their intervals: one that reaches 0 shows no drift.{told} "
        "Times are in UTC.",
        panels,
    )


def _broken(course: Moves) -> Moves:
    """With a place without a number wherever little was scored for so long that a line across would tell stories."""
    found: list[tuple[datetime, Counted]] = []
    for at, each in course:
        if found and at - found[-1][0] > _GAP:
            found.append((at - (at - found[-1][0]) / 2, _NOTHING))
        found.append((at, each))
    return found


def _told(each: Counted) -> str:
    if each.estimate is None:
        return f"undefined: {each.undefined_reason}"
    ends = "no interval" if each.lower is None or each.upper is None else interval(each.lower, each.upper)
    return f"{number(each.estimate)} {ends}<br>{each.n_responses:,} responses, {each.n_prompts:,} prompts"


def _range(course: Moves, levels: Sequence[float]) -> list[float]:
    """From 0, or below it where something lies there, to a little above the highest."""
    ends = [end for _, each in course for end in (each.lower, each.estimate, each.upper) if end is not None]
    low, high = min([0.0, *ends, *levels]), max([0.1, *ends, *levels])
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]

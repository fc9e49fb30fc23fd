"""Figures of panels, drawn by plotly."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evaluation.reproduction.intervals import Interval

WIDTH, PANEL_HEIGHT, COLUMNS = 1200, 240, 4
GREY, BLUE, ORANGE = "#85888f", "#3b82d0", "#d9822b"
_BAND = {GREY: "rgba(133,136,143,0.2)", BLUE: "rgba(59,130,208,0.22)", ORANGE: "rgba(217,130,43,0.2)"}


def panels(titles: Sequence[str], x_title: str) -> go.Figure:
    """Empty panels, up to ``COLUMNS`` in a row, which share their axes."""
    columns = min(COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    spacing = {"horizontal_spacing": 0.03, "vertical_spacing": 0.18 / rows}
    figure = make_subplots(rows, columns, subplot_titles=titles, shared_xaxes=True, shared_yaxes="all", **spacing)
    figure.update_layout(
        template="plotly_white",
        showlegend=False,
        width=WIDTH,
        height=130 + PANEL_HEIGHT * rows,
        margin={"l": 50, "r": 10, "t": 110, "b": 50},
        title={"y": 0.97, "yanchor": "top"},
    )
    figure.update_xaxes(title_text=x_title, row=rows)
    return figure


def path(
    figure: go.Figure,
    place: int,
    xs: Sequence[float],
    intervals: Sequence[Interval | None],
    colour: str,
    *,
    markers: bool = True,
) -> None:
    """In panel ``place`` a line above its band, over those of ``xs`` at which there is an interval."""
    known = [(x, each) for x, each in zip(xs, intervals, strict=True) if each is not None]
    x = [at for at, _ in known]
    ends = [each.upper for _, each in known] + [each.lower for _, each in reversed(known)]
    where = {"row": place // COLUMNS + 1, "col": place % COLUMNS + 1}
    band = {"fill": "toself", "fillcolor": _BAND[colour], "line": {"width": 0}, "mode": "lines"}
    figure.add_scatter(x=[*x, *reversed(x)], y=ends, **band, **where)
    line = {"mode": "lines+markers" if markers else "lines", "line": {"color": colour}, "marker": {"size": 5}}
    figure.add_scatter(x=x, y=[each.estimate for _, each in known], **line, **where)


def interval_bars(intervals: Mapping[str, Interval | None], title: str) -> go.Figure:
    """A dot with its interval for every name, the first on top."""
    known = {name: each for name, each in intervals.items() if each is not None}
    error = {
        "array": [each.upper - each.estimate for each in known.values()],
        "arrayminus": [each.estimate - each.lower for each in known.values()],
        "color": GREY,
    }
    figure = go.Figure()
    x = [each.estimate for each in known.values()]
    figure.add_scatter(x=x, y=list(known), mode="markers", error_x=error, marker={"color": BLUE, "size": 9})
    figure.update_layout(
        template="plotly_white",
        title=title,
        width=WIDTH,
        height=140 + 26 * len(known),
        margin={"l": 10, "r": 10, "t": 60, "b": 40},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    return figure

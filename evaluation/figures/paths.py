"""A line through estimates above the band of their intervals, both broken where there is no number."""

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from evaluation.figures.style import translucent
from evaluation.statistics.estimate import Estimate, Estimated
from evaluation.wording import interval, number

Scale = Callable[[float], float]


def as_it_is(value: float) -> float:
    """The scale that changes nothing."""
    return value


def percent(share: float) -> float:
    """The scale of shares."""
    return 100 * share


def add_path(
    figure: go.Figure,
    name: str,
    path: Sequence[Estimate],
    line: dict[str, Any],
    symbol: str,
    *,
    band: float,
    scale: Scale = as_it_is,
    place: tuple[int, int] | None = None,
    **trace: Any,  # noqa: ANN401 - whatever else a plotly scatter takes
) -> None:
    """Draw ``path`` over temperature in ``figure``, or in the panel ``place`` of it."""
    where = {} if place is None else {"row": place[0], "col": place[1]}
    for run in _runs(path):
        x = [each.temperature for each in run]
        lower = [scale(each.lower) for each in run if each.lower is not None]
        upper = [scale(each.upper) for each in run if each.upper is not None]
        figure.add_scatter(
            x=[*x, *reversed(x)],
            y=[*upper, *reversed(lower)],
            fill="toself",
            fillcolor=translucent(line["color"], band),
            # a band one temperature wide has no area, so it gets a line
            line={"width": 0 if len(run) > 1 else 2, "color": line["color"]},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            **where,
        )
    symbols = [f"{symbol}-open" if each.estimate is not None and each.lower is None else symbol for each in path]
    drawn = {
        "mode": "lines+markers",
        "line": line,
        "marker": {"symbol": symbols if f"{symbol}-open" in symbols else symbol, "size": 5 + line["width"]},
        "connectgaps": False,
        "legendgroup": name,
        "text": [f"{name}, T = {each.temperature:g}<br>{hover(each, scale)}" for each in path],
        "hovertemplate": "%{text}<extra></extra>",
    }
    figure.add_scatter(
        name=name,
        x=[each.temperature for each in path],
        y=[None if each.estimate is None else scale(each.estimate) for each in path],
        **{**drawn, **trace},
        **where,
    )


def arms(rows: Sequence[Estimated], scale: Scale = as_it_is) -> dict[str, Any]:
    """Error bars from the intervals; none where there is no interval."""
    values = [0.0 if each.estimate is None else scale(each.estimate) for each in rows]
    return {
        "type": "data",
        "array": [
            0.0 if each.upper is None else scale(each.upper) - value for each, value in zip(rows, values, strict=True)
        ],
        "arrayminus": [
            0.0 if each.lower is None else value - scale(each.lower) for each, value in zip(rows, values, strict=True)
        ],
        "width": 0,
        "thickness": 2,
    }


def hover(estimate: Estimated, scale: Scale = as_it_is) -> str:
    """The number, its interval and what is behind it, or why there is none."""
    if estimate.estimate is None:
        return f"undefined: {estimate.undefined_reason}"
    value = number(scale(estimate.estimate))
    if estimate.lower is None or estimate.upper is None:
        return f"{value}, no interval: {estimate.undefined_reason}"
    counts = f"{estimate.n_responses:,} responses, {estimate.n_prompts:,} prompts"
    return f"{value} {interval(scale(estimate.lower), scale(estimate.upper))}<br>{counts}"


def _runs(path: Sequence[Estimate]) -> list[list[Estimate]]:
    """Stretches of the path without a missing interval."""
    runs: list[list[Estimate]] = [[]]
    for each in path:
        if each.lower is None or each.upper is None:
            runs.append([])
        else:
            runs[-1].append(each)
    return [run for run in runs if run]

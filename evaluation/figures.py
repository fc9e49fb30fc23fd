"""Figures of estimates, built once for dashboard, report and image files.

Builders return plotly figures without fonts, background or HTML: whoever shows them brings those, in light or dark.
The colours are told apart by colour-blind eyes and have contrast on paper and on ink alike.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evaluation.scorers.controls import is_control
from evaluation.statistics.averages import MEAN
from evaluation.statistics.estimate import Estimate
from evaluation.wording import chance, interval, label, number

_COLOURS = ("#3b82d0", "#d9730d", "#16997a", "#b45fbf", "#c2453f", "#8a7a1c", "#6a5acd", "#7a5230")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "hexagon")
_DASHES = ("solid", "dash", "dot", "dashdot")
_GREY = "#85888f"
_CONTROL_DASHES = {"length": "solid", "zlib_ratio": "dot", "mean_logprob": "dashdot", "truncated": "dash"}
_AXIS = {"zeroline": False, "automargin": True, "title": {"font": {"size": 13}}}
_FOREST = {"pearson_within": "circle", "pearson_pooled": "square-open", "pearson_between": "diamond-open"}


def correlation_by_temperature(
    estimates: Iterable[Estimate], statistic: str = "pearson_within", oracle: str | None = None
) -> go.Figure:
    """A statistic of every scorer over sampling temperature: a line with its band, trivial controls grey and dashed.

    ``oracle`` is the first in the estimates unless said. A temperature at which it is undefined is a gap.
    """
    rows = [each for each in estimates if each.statistic == statistic and each.temperature is not None]
    rows = [each for each in rows if each.stratum == "all" and each.scorer != each.oracle]
    oracle = oracle or (rows[0].oracle if rows else "")
    paths = _paths(each for each in rows if each.oracle == oracle)
    figure = _blank()
    learned = [scorer for scorer in paths if not is_control(scorer)]
    for scorer in (scorer for scorer in paths if is_control(scorer)):  # first, so that they lie beneath
        style = {"color": _GREY, "dash": _CONTROL_DASHES.get(scorer, "longdash"), "width": 1.5}
        _add_path(figure, scorer, paths[scorer], style, "circle", band=0.06, rank=2000)
    for index, scorer in enumerate(learned):
        # past the last colour the same ones come again, dashed
        dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        style = {"color": _COLOURS[index % len(_COLOURS)], "dash": dash, "width": 2.5}
        _add_path(figure, scorer, paths[scorer], style, _SYMBOLS[index % len(_SYMBOLS)], band=0.18)
    figure.add_hline(y=chance(statistic), line={"color": _GREY, "width": 1})
    figure.update_xaxes(title_text="sampling temperature T", **_temperature_ticks(rows))
    figure.update_yaxes(title_text=label(statistic), range=_range(rows, chance(statistic)))
    return figure


def oracle_by_temperature(estimates: Iterable[Estimate], oracle: str) -> go.Figure:
    """What the oracle thinks of the policy's responses, on average, as temperature rises."""
    rows = _means(estimates, oracle)
    figure = _blank()
    _add_path(figure, oracle, rows, {"color": _COLOURS[0], "width": 2.5}, "circle", band=0.18)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="sampling temperature T", **_temperature_ticks(rows))
    figure.update_yaxes(title_text=f"mean judgement of {oracle}")
    return figure


def length_by_temperature(estimates: Sequence[Estimate]) -> go.Figure:
    """Typical length, and the share of responses cut at the limit, over temperature; one panel each, above another."""
    lengths, truncated = _means(estimates, "length"), _means(estimates, "truncated")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12, figure=_blank())
    figure.update_xaxes(_AXIS)
    figure.update_yaxes(_AXIS)
    style = {"color": _COLOURS[2], "width": 2.5}
    # the length control is log(1 + characters), so its mean is turned back into characters
    _add_path(figure, "length", lengths, style, "circle", band=0.18, scale=_characters, place=(1, 1))
    style = {"color": _COLOURS[1], "width": 2.5}
    _add_path(figure, "truncated", truncated, style, "square", band=0.18, scale=lambda share: 100 * share, place=(2, 1))
    figure.update_layout(showlegend=False)
    figure.update_xaxes(**_temperature_ticks([*lengths, *truncated]))
    figure.update_xaxes(title_text="sampling temperature T", row=2, col=1)
    figure.update_yaxes(title_text="characters", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="truncated, %", rangemode="tozero", row=2, col=1)
    return figure


def forest(estimates: Iterable[Estimate], oracle: str | None = None) -> go.Figure:
    """An audit: every scorer's correlation within prompts, pooled and between prompts, each with its interval."""
    rows = [
        each for each in estimates if each.temperature is None and each.stratum == "all" and each.scorer != each.oracle
    ]
    oracle = oracle or (rows[0].oracle if rows else "")
    rows = [each for each in rows if each.oracle == oracle and each.statistic in _FOREST]
    scorers = list(dict.fromkeys(each.scorer for each in rows))
    figure = _blank()
    for index, (statistic, symbol) in enumerate(_FOREST.items()):
        shown = [each for each in rows if each.statistic == statistic and each.estimate is not None]
        figure.add_scatter(
            name=label(statistic),
            x=[each.estimate for each in shown],
            # one line for each statistic below the scorer's own, so that intervals do not cover each other
            y=[scorers.index(each.scorer) + (index - 1) * 0.22 for each in shown],
            mode="markers",
            marker={"color": _COLOURS[index], "symbol": symbol, "size": 10},
            error_x={
                "type": "data",
                "array": [(each.upper or each.estimate or 0.0) - (each.estimate or 0.0) for each in shown],
                "arrayminus": [(each.estimate or 0.0) - (each.lower or each.estimate or 0.0) for each in shown],
                "width": 0,
                "thickness": 2,
            },
            hovertemplate="%{text}<extra></extra>",
            text=[f"{each.scorer}, {label(statistic)}: {_hover(each)}" for each in shown],
        )
    figure.add_vline(x=0, line={"color": _GREY, "width": 1})
    figure.update_xaxes(title_text=f"correlation with {oracle}", range=_range(rows, 0.0))
    figure.update_yaxes(
        tickvals=list(range(len(scorers))), ticktext=scorers, range=[len(scorers) - 0.5, -0.5], showgrid=False
    )
    figure.update_layout(height=130 + 84 * len(scorers))
    return figure


def _blank() -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="none",  # without it plotly adds seven kilobytes of its own style to every figure
        margin={"l": 64, "r": 12, "t": 12, "b": 52},
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(_AXIS)
    figure.update_yaxes(_AXIS)
    return figure


def _paths(rows: Iterable[Estimate]) -> dict[str, list[Estimate]]:
    """Estimates by scorer, each in order of temperature."""
    paths: dict[str, list[Estimate]] = {}
    for each in sorted(rows, key=lambda each: each.temperature or 0.0):
        paths.setdefault(each.scorer, []).append(each)
    return paths


def _means(estimates: Iterable[Estimate], name: str) -> list[Estimate]:
    rows = [
        each for each in estimates if each.statistic == MEAN and each.scorer == name and each.temperature is not None
    ]
    return sorted((each for each in rows if each.stratum == "all"), key=lambda each: each.temperature or 0.0)


def _add_path(
    figure: go.Figure,
    name: str,
    path: Sequence[Estimate],
    line: dict[str, Any],
    symbol: str,
    *,
    band: float,
    scale: Callable[[float], float] = lambda value: value,
    place: tuple[int, int] | None = None,
    rank: int = 1000,
) -> None:
    """A line through the estimates above the band of their intervals, both broken where there is no number."""
    where = {} if place is None else {"row": place[0], "col": place[1]}
    for run in _runs(path):
        x = [each.temperature for each in run]
        lower = [scale(each.lower) for each in run if each.lower is not None]
        upper = [scale(each.upper) for each in run if each.upper is not None]
        figure.add_scatter(
            x=[*x, *reversed(x)],
            y=[*upper, *reversed(lower)],
            fill="toself",
            fillcolor=_translucent(line["color"], band),
            # a band one temperature wide has no area, so it gets a line
            line={"width": 0 if len(run) > 1 else 2, "color": line["color"]},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            **where,
        )
    symbols = [f"{symbol}-open" if each.estimate is not None and each.lower is None else symbol for each in path]
    figure.add_scatter(
        name=name,
        x=[each.temperature for each in path],
        y=[None if each.estimate is None else scale(each.estimate) for each in path],
        mode="lines+markers",
        line=line,
        marker={"symbol": symbols if f"{symbol}-open" in symbols else symbol, "size": 5 + line["width"]},
        connectgaps=False,
        legendgroup=name,
        legendrank=rank,
        text=[f"{name}, T = {each.temperature:g}<br>{_hover(each, scale)}" for each in path],
        hovertemplate="%{text}<extra></extra>",
        **where,
    )


def _runs(path: Sequence[Estimate]) -> list[list[Estimate]]:
    """Stretches of the path without a missing interval."""
    runs: list[list[Estimate]] = [[]]
    for each in path:
        if each.lower is None or each.upper is None:
            runs.append([])
        else:
            runs[-1].append(each)
    return [run for run in runs if run]


def _hover(estimate: Estimate, scale: Callable[[float], float] = lambda value: value) -> str:
    if estimate.estimate is None:
        return f"undefined: {estimate.undefined_reason}"
    value = number(scale(estimate.estimate))
    if estimate.lower is None or estimate.upper is None:
        return f"{value}, no interval: {estimate.undefined_reason}"
    counts = f"{estimate.n_responses:,} responses, {estimate.n_prompts:,} prompts"
    return f"{value} {interval(scale(estimate.lower), scale(estimate.upper))}<br>{counts}"


def _range(rows: Iterable[Estimate], level: float) -> list[float]:
    """Axis range that holds every interval and the level of chance, within what a correlation can be."""
    known = [value for each in rows for value in (each.lower, each.estimate, each.upper) if value is not None]
    return [max(min([level, *known]) - 0.06, -1.04), min(max([level, *known]) + 0.06, 1.04)]


def _temperature_ticks(rows: Iterable[Estimate]) -> dict[str, Any]:
    highest = max((each.temperature or 0.0 for each in rows), default=2.0)
    return {"dtick": 0.5 if highest > 1 else 0.25, "range": [-0.06, max(highest, 0.5) + 0.06], "tickformat": ".2~f"}


def _characters(mean: float) -> float:
    return math.expm1(mean)


def _translucent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"

"""A line through estimates above the band of their intervals, both broken where there is no number."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from evaluation.figures.figure import Figure
from evaluation.figures.style import translucent
from evaluation.statistics.estimate import Estimate, Estimated
from evaluation.wording import interval, number

Scale = Callable[[float], float]


class Ended(Protocol):
    """Whatever has an interval, or none."""

    @property
    def lower(self) -> float | None: ...

    @property
    def upper(self) -> float | None: ...


def as_it_is(value: float) -> float:
    """The scale that changes nothing."""
    return value


def percent(share: float) -> float:
    """The scale of shares."""
    return 100 * share


def add_path(
    figure: Figure,
    name: str,
    path: Sequence[Estimate],
    line: dict[str, Any],
    symbol: str,
    *,
    band: float,
    scale: Scale = as_it_is,
    place: int = 0,
    beside: float = 0.0,
    **trace: Any,  # noqa: ANN401 - whatever else a plotly scatter takes
) -> None:
    """Draw ``path`` over temperature in a panel of ``figure``, so much ``beside`` its place."""
    x = [None if each.temperature is None else each.temperature + beside for each in path]
    add_bands(figure, name, x, path, line["color"], band=band, scale=scale, place=place)
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
    figure.add(
        place,
        name=name,
        x=x,
        y=[None if each.estimate is None else scale(each.estimate) for each in path],
        **{**drawn, **trace},
    )


def add_bands(
    figure: Figure,
    name: str,
    x: Sequence[Any],
    rows: Sequence[Ended],
    colour: str,
    *,
    band: float,
    scale: Scale = as_it_is,
    place: int = 0,
) -> None:
    """Fill the intervals of ``rows`` over ``x``, in stretches without a missing one."""
    for run in _runs(x, rows):
        at = [each for each, _, _ in run]
        figure.add(
            place,
            x=[*at, *reversed(at)],
            y=[*(scale(upper) for _, _, upper in run), *reversed([scale(lower) for _, lower, _ in run])],
            fill="toself",
            fillcolor=translucent(colour, band),
            # a band of one place has no area, so it gets a line
            line={"width": 0 if len(run) > 1 else 2, "color": colour},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
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


def _runs(x: Sequence[Any], rows: Sequence[Ended]) -> list[list[tuple[Any, float, float]]]:
    """Place, lower and upper end, in stretches without a missing interval."""
    runs: list[list[tuple[Any, float, float]]] = [[]]
    for place, each in zip(x, rows, strict=True):
        if each.lower is None or each.upper is None:
            runs.append([])
        else:
            runs[-1].append((place, each.lower, each.upper))
    return [run for run in runs if run]

"""What is scored now beside what it is compared with: scores, lengths, and prompts that had to be cut."""

from collections.abc import Sequence

import numpy as np

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.facets import Facets
from evaluation.figures.paths import percent
from evaluation.figures.style import BLUE, GREY, ORANGE
from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.drift import Bounded, Moved
from evaluation.wording import interval, number

_NOW = "the latest"
_MARGIN = 0.04


def drift(scorer: str, reference: str, score: Moved, length: Moved, cut: Sequence[Bounded]) -> Drawing:
    """A panel for each measure; ``cut`` are the shares of prompts cut now and in the reference."""
    panels = Facets(["Score", "Length", "Truncation"], x="", y="at most so much, %", shared_y=False, panel_height=220)
    for index, (moved, unit) in enumerate(((score, "score"), (length, "characters"))):
        _distributions(panels, index, moved, reference)
        panels.axis("x", index, title=unit, range=_range(moved))
        panels.axis("y", index, range=[-3, 103], dtick=25)
    _shares(panels, 2, cut, reference)
    return Drawing(
        file_stem("drift", scorer),
        f"What {scorer} scores now, beside {reference}",
        "Which share of the responses has at most this score, or this length. If nothing had moved the two lines would "
        "lie upon each other; the orange line stands where they are furthest apart, and its length is the share that "
        "moved. On the right the share of prompts that had to be cut, with intervals.",
        panels,
    )


def _distributions(panels: Facets, index: int, moved: Moved, reference: str) -> None:
    for name, quantiles, colour in ((reference, moved.before, GREY), (_NOW, moved.now, BLUE)):
        panels.add(
            index,
            name=name,
            x=list(quantiles),
            y=list(range(len(quantiles))),
            mode="lines",
            line={"color": colour, "width": 2},
            hovertemplate="%{y} % at most %{x}<extra>" + name + "</extra>",
        )
    if moved.distance.estimate:
        place, low, high = _furthest(np.array(moved.before), np.array(moved.now))
        size = moved.distance
        told = "" if size.lower is None or size.upper is None else f" {interval(size.lower, size.upper)}"
        panels.add(
            index,
            x=[place, place],
            y=[percent(low), percent(high)],
            mode="lines",
            line={"color": ORANGE, "width": 2},
            hovertemplate=f"share that moved: {number(moved.distance.estimate)}{told}<extra></extra>",
            showlegend=False,
        )


def _furthest(before: Floats, now: Floats) -> tuple[float, float, float]:
    """Where the two distribution functions are furthest apart, and both there."""
    places = np.union1d(before, now)
    f, g = (np.maximum(np.searchsorted(each, places, side="right") - 1, 0) / (each.size - 1) for each in (before, now))
    at = int(np.abs(f - g).argmax())
    return float(places[at]), float(f[at]), float(g[at])


def _range(moved: Moved) -> list[float]:
    """Between the quantiles at 1 and 99 % of both: a few that are far out would press the rest together."""
    low = min(each[1] for each in (moved.before, moved.now))
    high = max(each[-2] for each in (moved.before, moved.now))
    margin = _MARGIN * (high - low) or 1.0
    return [low - margin, high + margin]


def _shares(panels: Facets, index: int, cut: Sequence[Bounded], reference: str) -> None:
    for place, (name, each, colour) in enumerate(zip((_NOW, reference), cut, (BLUE, GREY), strict=True)):
        if each.estimate is None or each.lower is None or each.upper is None:
            continue
        value = percent(each.estimate)
        panels.add(
            index,
            name=name,
            x=[place],
            y=[value],
            mode="markers",
            marker={"color": colour, "size": 9},
            error_y={
                "type": "data",
                **{"array": [percent(each.upper) - value], "arrayminus": [value - percent(each.lower)]},
                **{"color": colour, "width": 0, "thickness": 2},
            },
            hovertemplate=f"{number(value)} % of prompts cut {interval(percent(each.lower), percent(each.upper))}"
            f"<extra>{name}</extra>",
        )
    known = [percent(each.upper) for each in cut if each.upper is not None]
    ticks = {"tickvals": [0, 1], "ticktext": ["now", "reference"], "range": [-0.6, 1.6], "showgrid": False}
    panels.axis("x", index, **ticks)
    highest = max([10.0, *known])
    panels.axis("y", index, title="prompts cut, %", range=[-0.03 * highest, 1.06 * highest])

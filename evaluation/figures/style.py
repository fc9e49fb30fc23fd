"""Colours with one meaning each, axes and margins, so that figures of a page look like one hand's.

Figures have no font and no background: whoever shows them brings those, in light, dark or print. The colours are told
apart by colour-blind eyes and have contrast on paper and on ink alike.
"""

from collections.abc import Iterable
from typing import Any

from evaluation.statistics.estimate import Estimated

BLUE, ORANGE, GREEN, PURPLE = "#3b82d0", "#d9730d", "#16997a", "#b45fbf"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#c2453f", "#8a7a1c", "#6a5acd", "#7a5230")
RED = COLOURS[4]
"""A bound that is not to be crossed."""
GREY = "#85888f"
"""What is there to be compared with: controls, chance, the ideal."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot")
CONTROL_DASHES = {"length": "solid", "zlib_ratio": "dot", "mean_logprob": "dashdot", "truncated": "dash"}
BAND = 0.18
TEMPERATURE = "sampling temperature T"

_COLD, _WARM, _HOT = (47, 127, 208), (150, 98, 184), (217, 84, 30)


def heat(temperature: float) -> str:
    """Blue at T = 0 over violet to orange at T = 2."""
    place = min(max(temperature, 0.0), 2.0)
    low, high, share = (_COLD, _WARM, place) if place <= 1 else (_WARM, _HOT, place - 1)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def translucent(colour: str, opacity: float) -> str:
    """A colour ``#rrggbb`` to fill with."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def temperature_ticks(temperatures: Iterable[float | None]) -> dict[str, Any]:
    """An axis from greedy to the highest temperature; one alone stands in the middle."""
    known = {each for each in temperatures if each is not None}
    highest = max(known, default=2.0)
    if len(known) == 1:
        return {"tickvals": [highest], "range": [highest - 0.5, highest + 0.5], "tickformat": ".2~f"}
    return {"dtick": 0.5 if highest > 1 else 0.25, "range": [-0.06, max(highest, 0.5) + 0.06], "tickformat": ".2~f"}


def correlation_range(rows: Iterable[Estimated], level: float) -> list[float]:
    """Axis range that holds every interval and the level of chance, within what a correlation can be."""
    known = [value for each in rows for value in (each.lower, each.estimate, each.upper) if value is not None]
    return [max(min([level, *known]) - 0.06, -1.04), min(max([level, *known]) + 0.06, 1.04)]


def short(name: str, most: int = 30) -> str:
    """A name that fits above a panel; its end tells scorers apart."""
    return name if len(name) <= most else f"…{name[1 - most :]}"

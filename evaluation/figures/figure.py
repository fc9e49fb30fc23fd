"""A figure as plotly.js takes it: traces and a layout, plain values that tests hand to plotly to be checked.

Plotly's own figures check each change as it is made, which takes longer than everything else that a page does.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evaluation.figures.style import GREY

Values = dict[str, Any]

_FAINT: Values = {"color": GREY, "width": 1}
_AXIS: Values = {"zeroline": False, "automargin": True, "title": {"font": {"size": 13}}}
_LAYOUT: Values = {
    "margin": {"l": 64, "r": 12, "t": 12, "b": 52},
    "hovermode": "closest",
    "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
    "xaxis": _AXIS,
    "yaxis": _AXIS,
}


@dataclass
class Figure:
    """One panel or several, the first at place 0."""

    data: list[Values] = field(default_factory=list)
    """Traces, in the order in which they are drawn."""

    layout: Values = field(default_factory=_LAYOUT.copy)
    panels: int = 1

    def add(self, place: int = 0, **trace: Any) -> None:  # noqa: ANN401 - whatever a plotly trace takes
        """Draw a trace in a panel, a scatter unless it says otherwise."""
        self.data.append({"type": "scatter", "xaxis": axis_id("x", place), "yaxis": axis_id("y", place), **trace})

    def axis(self, letter: str, place: int = 0, **changes: Any) -> None:  # noqa: ANN401 - whatever a plotly axis takes
        """Settle something of a panel's axis ``x`` or ``y``; ``title`` is its text."""
        name = axis_id(f"{letter}axis", place)
        if "title" in changes:
            changes["title"] = {**_AXIS["title"], "text": changes["title"]}
        self.layout[name] = {**self.layout.get(name, _AXIS), **changes}

    def axes(self, *, x: Values | None = None, y: Values | None = None) -> None:
        """Settle the same of all panels' axes."""
        for place in range(self.panels):
            self.axis("x", place, **(x or {}))
            self.axis("y", place, **(y or {}))

    def level(self, value: float, line: Values = _FAINT, place: int | None = None, *, upright: bool = False) -> None:
        """A line at ``value`` of y, or of x where it is ``upright``, such as what chance gives: across all panels, or
        across one."""
        along, across = ("y", "x") if upright else ("x", "y")
        ends = {f"{along}0": 0, f"{along}1": 1, f"{across}0": value, f"{across}1": value}
        shapes = [
            {
                **{"type": "line", "line": line, **ends},
                **{f"{along}ref": f"{axis_id(along, each)} domain", f"{across}ref": axis_id(across, each)},
            }
            for each in (range(self.panels) if place is None else [place])
        ]
        self.layout["shapes"] = [*self.layout.get("shapes", ()), *shapes]

    def note(self, text: str, **where: Any) -> None:  # noqa: ANN401 - whatever a plotly annotation takes
        """Words at a place of the whole figure."""
        words = {"text": text, "xref": "paper", "yref": "paper", "showarrow": False, **where}
        self.layout["annotations"] = [*self.layout.get("annotations", ()), words]

    def room_for_legend(self) -> None:
        """Leave a line above for the legend, which ``meta.legend`` says how high: pages may set their own."""
        self.layout["margin"] = {**self.layout["margin"], "t": 44}
        self.layout["meta"] = {**self.layout.get("meta", {}), "legend": 32}

    def say_nothing(self, words: str) -> None:
        """Words in place of what there is not."""
        self.note(words, x=0.5, y=0.5)
        self.layout |= {"height": 140, "showlegend": False}
        self.axis("x", visible=False)
        self.axis("y", visible=False)

    def to_json(self) -> str:
        """For a script; times as ISO 8601. Raises ValueError for what JSON has no number for."""
        told = {"data": self.data, "layout": self.layout}
        return json.dumps(told, default=datetime.isoformat, allow_nan=False, separators=(",", ":"))


def axis_id(letter: str, place: int) -> str:
    """``x`` and ``y`` of the first panel, ``x2`` and ``y2`` of the second."""
    return letter if place == 0 else f"{letter}{place + 1}"

"""Small multiples: one panel for each scorer, alike in size and scale, so that a dozen stay readable."""

from collections.abc import Sequence
from typing import Any

from evaluation.figures.figure import Figure, Values, axis_id
from evaluation.figures.style import short

_GAP, _ABOVE, _LEGEND, _BELOW = 34, 34, 30, 54
"""Pixels: between rows for the panels' names, above them for the first row's, for the legend, for the axis."""


_LONGEST = {1: 90, 2: 46, 3: 30, 4: 24}
"""Characters of a panel's name, by how many panels stand side by side."""


class Facets(Figure):
    """A figure of several panels, filled by place. A series is named in the legend once."""

    def __init__(
        self,
        titles: Sequence[str],
        *,
        x: str,
        y: str,
        columns: int = 3,
        panel_height: int = 176,
        shared_y: bool = True,
        legend: bool = True,
    ) -> None:
        """``x`` and ``y`` are the axes' titles; ``shared_y`` panels have one scale and are numbered once a row."""
        super().__init__(panels=max(len(titles), 1))
        self._named: set[str] = set()
        columns = min(columns, self.panels)
        if (columns, len(titles)) == (3, 4):  # no panel is to stand alone
            columns = 2
        rows = -(-self.panels // columns)
        inner = rows * panel_height + (rows - 1) * _GAP
        above = _ABOVE + (_LEGEND if legend else 0)
        self.layout |= {
            "height": inner + above + _BELOW,
            "margin": {"l": 64, "r": 12, "t": above, "b": _BELOW},
            "legend": {**self.layout["legend"], "y": 1 + (_ABOVE - 8) / inner},
            "showlegend": legend,
            "meta": {
                "min_width": 210 * columns,
                "legend": above - _ABOVE,
                # for pages that arrange the panels otherwise where there is less room
                "panels": {"titles": list(titles), "x": x, "shared": shared_y},
            },
        }
        apart = 0.03 if shared_y else 0.08
        wide = (1 - apart * (columns - 1)) / columns
        for place, title in enumerate(titles):
            row, column = divmod(place, columns)
            left = column * (wide + apart)
            top = 1 - row * (panel_height + _GAP) / inner
            middle = left + wide / 2
            self.note(
                short(title, _LONGEST[columns]), x=middle, xanchor="center", y=top, yanchor="bottom", font={"size": 13}
            )
            last, first = place + columns >= len(titles), column == 0
            told: Values = {"title": x if last else "", "showticklabels": last}
            self.axis("x", place, domain=[left, left + wide], anchor=axis_id("y", place), **told)
            told = {"title": y if first else "", "showticklabels": not shared_y or first}
            scale: Values = {"matches": "y"} if shared_y and place else {}
            bottom = max(top - panel_height / inner, 0.0)
            self.axis("y", place, domain=[bottom, top], anchor=axis_id("x", place), **told, **scale)

    def add(self, place: int = 0, **trace: Any) -> None:  # noqa: ANN401 - whatever a plotly trace takes
        """Draw a trace in a panel, named in the legend if it is the first of its name, and grouped with the others."""
        name = str(trace.get("name", ""))
        if "showlegend" not in trace:
            trace["showlegend"] = bool(name) and name not in self._named
            self._named.add(name)
        super().add(place, **{"legendgroup": name, **trace})

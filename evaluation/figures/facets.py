"""Small multiples: one panel for each scorer, alike in size and scale, so that a dozen stay readable."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evaluation.figures.style import AXIS, blank, short

_GAP, _ABOVE, _LEGEND, _BELOW = 34, 34, 30, 54
"""Pixels: between rows for the panels' names, above them for the first row's, for the legend, for the axis."""


_LONGEST = {1: 90, 2: 46, 3: 30, 4: 24}
"""Characters of a panel's name, by how many panels stand side by side."""


class Facets:
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
        self._columns = min(columns, max(len(titles), 1))
        if (self._columns, len(titles)) == (3, 4):  # no panel is to stand alone
            self._columns = 2
        rows = max(-(-len(titles) // self._columns), 1)
        inner = rows * panel_height + (rows - 1) * _GAP
        filled: list[list[dict[str, Any] | None]] = [
            [{} if row * self._columns + column < max(len(titles), 1) else None for column in range(self._columns)]
            for row in range(rows)
        ]
        self.figure: go.Figure = make_subplots(
            rows=rows,
            cols=self._columns,
            specs=filled,
            subplot_titles=[short(title, _LONGEST[self._columns]) for title in titles],
            vertical_spacing=_GAP / inner if rows > 1 else 0,
            horizontal_spacing=(0.03 if shared_y else 0.08) if self._columns > 1 else 0,
            figure=blank(),
        )
        above = _ABOVE + (_LEGEND if legend else 0)
        self.figure.update_layout(
            height=inner + above + _BELOW,
            margin={"l": 64, "r": 12, "t": above, "b": _BELOW},
            legend={"y": 1 + (_ABOVE - 8) / inner},
            showlegend=legend,
            meta={
                "min_width": 210 * self._columns,
                "legend": above - _ABOVE,
                # for pages that arrange the panels otherwise where there is less room
                "panels": {"titles": list(titles), "x": x, "shared": shared_y},
            },
        )
        self.figure.update_annotations(font={"size": 13})
        self.figure.update_xaxes(AXIS)
        self.figure.update_yaxes(AXIS)
        self._named: set[str] = set()
        for index in range(len(titles)):
            row, column = self.place(index)
            below = index + self._columns < len(titles)
            matches = {"matches": "y"} if shared_y and index else {}
            self.figure.update_xaxes(title_text=None if below else x, showticklabels=not below, row=row, col=column)
            self.figure.update_yaxes(
                title_text=y if column == 1 else None,
                showticklabels=not shared_y or column == 1,
                row=row,
                col=column,
                **matches,
            )

    def place(self, index: int) -> tuple[int, int]:
        """Row and column of a panel, both from 1."""
        return index // self._columns + 1, index % self._columns + 1

    def add(self, index: int, **trace: Any) -> None:  # noqa: ANN401 - whatever a plotly scatter takes
        """Add a scatter trace to a panel."""
        row, column = self.place(index)
        self.figure.add_scatter(**self.in_legend(trace), row=row, col=column)

    def in_legend(self, trace: dict[str, Any]) -> dict[str, Any]:
        """The trace, named in the legend if it is the first of its name, and grouped with the others."""
        name = str(trace.get("name", ""))
        if "showlegend" not in trace:
            trace = {**trace, "showlegend": bool(name) and name not in self._named}
            self._named.add(name)
        return {"legendgroup": name, **trace}

    def axes(self, *, x: dict[str, Any] | None = None, y: dict[str, Any] | None = None) -> None:
        """Settle the same of all panels' axes."""
        self.figure.update_xaxes(x or {})
        self.figure.update_yaxes(y or {})

    def level(self, value: float) -> None:
        """A grey line across every panel, such as what chance gives."""
        self.figure.add_hline(y=value, line={"color": "#85888f", "width": 1})

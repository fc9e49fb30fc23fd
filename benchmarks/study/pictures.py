"""The study's figures: plotly figures, and PNG files of them where Chromium is installed."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.study.arms import ARMS, TEMPERATURES
from benchmarks.study.findings import Study
from benchmarks.study.intervals import Interval
from benchmarks.study.measurements import GOLD, WITHIN
from benchmarks.study.tables import SCORERS

WIDTH, PANEL_HEIGHT, COLUMNS = 1200, 240, 4
_BASELINE = "dpo"
_GREY, _BLUE = "#85888f", "#3b82d0"
_BAND = {_GREY: "rgba(133,136,143,0.2)", _BLUE: "rgba(59,130,208,0.22)"}


def gold_by_temperature(study: Study) -> go.Figure:
    """A panel for each arm: its gold judgement over temperature in colour, DPO's in grey, each with its band."""
    others = [arm for arm in ARMS if arm != _BASELINE]
    figure = _panels(others)
    for place, arm in enumerate(others):
        _path(figure, place, [study.interval(_BASELINE, GOLD, each) for each in TEMPERATURES], _GREY)
        _path(figure, place, [study.interval(arm, GOLD, each) for each in TEMPERATURES], _BLUE)
    figure.update_layout(title="Gold judgement by temperature (blue), over DPO's (grey); bands: 95 %, t over seeds")
    return figure


def lead_over_dpo(study: Study) -> go.Figure:
    """A panel for each arm: how far it is ahead of DPO in the same seed, with its band."""
    others = [arm for arm in ARMS if arm != _BASELINE]
    figure = _panels(others)
    for place, arm in enumerate(others):
        _path(figure, place, [study.lead(arm, _BASELINE, GOLD, each) for each in TEMPERATURES], _BLUE)
    figure.add_hline(y=0, line={"color": _GREY, "width": 1})
    figure.update_layout(title="Gold judgement minus DPO's, paired within seeds; bands: 95 %, t over seeds")
    return figure


def agreement_by_temperature(study: Study) -> go.Figure:
    """A panel for each scorer: its r within prompts over temperature."""
    figure = _panels(list(SCORERS.values()))
    for place, scorer in enumerate(SCORERS):
        _path(figure, place, [study.interval(scorer, WITHIN, each) for each in TEMPERATURES], _BLUE)
    figure.add_hline(y=0, line={"color": _GREY, "width": 1})
    figure.update_layout(title="r within prompts with gold, by temperature; bands: 95 %, t over seeds")
    return figure


FIGURES = {
    "study-gold.png": gold_by_temperature,
    "study-lead.png": lead_over_dpo,
    "study-scorers.png": agreement_by_temperature,
}


def write_png(figure: go.Figure, path: Path) -> bool:
    """Draw the figure by headless Chromium; False where there is none. Raises CalledProcessError if it fails."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "figure.html"
        page.write_text(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}), encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=6000"]
        places = [f"--user-data-dir={scratch}/profile", f"--screenshot={path.absolute()}"]
        size = f"--window-size={WIDTH + 16},{figure.layout.height + 16}"
        subprocess.run([chromium, *flags, *places, size, page.as_uri()], check=True, capture_output=True, timeout=120)
    return True


def _panels(titles: Sequence[str]) -> go.Figure:
    rows = -(-len(titles) // COLUMNS)
    spacing = {"horizontal_spacing": 0.03, "vertical_spacing": 0.18 / rows}
    figure = make_subplots(rows, COLUMNS, subplot_titles=titles, shared_xaxes=True, shared_yaxes="all", **spacing)
    figure.update_layout(
        template="plotly_white",
        showlegend=False,
        width=WIDTH,
        height=100 + PANEL_HEIGHT * rows,
        margin={"l": 50, "r": 10, "t": 80, "b": 50},
    )
    figure.update_xaxes(title_text="T", row=rows)
    return figure


def _path(figure: go.Figure, place: int, intervals: Sequence[Interval | None], colour: str) -> None:
    """A line above its band, over the temperatures at which there is an interval."""
    known = [(x, each) for x, each in zip(TEMPERATURES, intervals, strict=True) if each is not None]
    x = [temperature for temperature, _ in known]
    ends = [each.upper for _, each in known] + [each.lower for _, each in reversed(known)]
    where = {"row": place // COLUMNS + 1, "col": place % COLUMNS + 1}
    band = {"fill": "toself", "fillcolor": _BAND[colour], "line": {"width": 0}, "mode": "lines"}
    figure.add_scatter(x=[*x, *reversed(x)], y=ends, **band, **where)
    line = {"mode": "lines+markers", "line": {"color": colour}, "marker": {"size": 5}}
    figure.add_scatter(x=x, y=[each.estimate for _, each in known], **line, **where)

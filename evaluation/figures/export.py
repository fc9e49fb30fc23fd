"""Drawings as image files, on white paper."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
import plotly.io

from evaluation.figures.drawing import Drawing
from evaluation.figures.figure import Figure
from trainer.errors import InvalidInput
from trainer.files import storage_errors

ImageFormat = Literal["png", "svg"]

_WIDTH, _HEIGHT, _TITLE = 980, 440, 44
"""Pixels: of an image, of a figure that does not say, and for the title above it."""

_INK, _LINE = "#45484e", "#e0ddd6"
_FONT = "Inter, Helvetica Neue, Arial, Liberation Sans, sans-serif"


def write_images(drawings: Sequence[Drawing], directory: Path, form: ImageFormat) -> list[Path]:
    """Write every drawing below ``directory`` under its name; PNG at twice the resolution, for print.

    Raises InvalidInput where kaleido or a Chromium for it is not installed, StorageFailure for the directory.
    """
    if find_spec("kaleido") is None:
        raise InvalidInput("images need kaleido: pip install 'reward-assay[figures]'")
    paths = [directory / f"{drawing.name}.{form}" for drawing in drawings]
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    papers = [on_paper(each.figure, each.title) for each in drawings]
    try:
        with storage_errors(directory):
            plotly.io.write_images(
                papers,
                paths,
                format=form,
                scale=2 if form == "png" else 1,
                width=_WIDTH,
                height=[each.layout.height for each in papers],
            )
    except RuntimeError as error:  # plotly's word for a kaleido without its browser
        raise InvalidInput(
            "images are drawn by Chromium, and none could be started: install chromium or Google Chrome, or name one "
            "in the variable BROWSER_PATH"
        ) from error
    return paths


def on_paper(figure: Figure, title: str) -> go.Figure:
    """The figure in print's colours under its title, which a page would set as a heading."""
    paper = go.Figure(figure.data, figure.layout)
    margin = figure.layout["margin"]
    height = figure.layout.get("height", _HEIGHT) + _TITLE
    paper.update_layout(
        template="none",
        height=height,
        margin={**margin, "t": margin["t"] + _TITLE, "b": margin["b"] + 8, "r": 24},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": _FONT, "size": 13, "color": _INK},
        title={"text": title, "x": 0.012, "y": 1 - 14 / height, "yanchor": "top", "font": {"size": 17}},
    )
    for axes in (paper.update_xaxes, paper.update_yaxes):
        axes(gridcolor=_LINE, linecolor=_LINE, tickcolor=_LINE)
    return paper

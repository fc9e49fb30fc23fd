"""What high temperatures do to the texts themselves: length, truncation, degeneration."""

import math
from collections.abc import Iterator

from evaluation.figures.drawing import Drawing
from evaluation.figures.evidence import Evidence
from evaluation.figures.facets import Facets
from evaluation.figures.paths import Scale, add_path, percent
from evaluation.figures.style import BAND, BLUE, ORANGE, TEMPERATURE, temperature_ticks
from evaluation.statistics.averages import MEAN
from evaluation.statistics.degeneration import DEGENERATE

_MEASURES: dict[str, tuple[str, Scale]] = {
    # the length control is log(1 + characters), so its mean is turned back into characters
    "length": ("length, characters", math.expm1),
    "truncated": ("cut at the limit, %", percent),
    DEGENERATE: ("degenerate, %", percent),
    "text_empty": ("empty, %", percent),
    "text_repeat_4": ("4-grams repeated, %", percent),
    "text_distinct_2": ("2-grams distinct, %", percent),
    "text_non_ascii": ("beyond ASCII, %", percent),
    "text_replacement": ("broken characters, %", percent),
}


def texts(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each measure that the run has."""
    paths = {name: evidence.described(name, MEAN) for name in _MEASURES}
    paths = {name: path for name, path in paths.items() if path}
    if not paths:
        return
    panels = Facets(
        [_MEASURES[name][0] for name in paths],
        x=TEMPERATURE,
        y="",
        columns=4,
        panel_height=140,
        shared_y=False,
        legend=False,
    )
    for index, (name, path) in enumerate(paths.items()):
        colour = BLUE if name == "length" else ORANGE
        style = {"color": colour, "width": 2}
        title, scale = _MEASURES[name]
        add_path(panels, title, path, style, "circle", band=BAND, scale=scale, place=index)
    panels.axes(
        x=temperature_ticks(each.temperature for path in paths.values() for each in path),
        y={"rangemode": "tozero", "nticks": 5},
    )
    yield Drawing(
        "texts",
        "Length and degeneration",
        "The typical length (geometric mean), and how much of the text is no longer text. Where these move, a scorer "
        "may agree with an oracle by reading nothing else: see agreement with length held fixed.",
        panels,
    )

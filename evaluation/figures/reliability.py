"""Whether a scorer that says 80 % is right in 80 %."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, learned, spread_over
from evaluation.figures.facets import Facets
from evaluation.figures.paths import arms, hover, percent
from evaluation.figures.style import GREY, heat
from evaluation.statistics.calibration import RELIABILITY

_SHOWN = 4


def reliability(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each learned scorer against every oracle, a line for each of some temperatures."""
    for oracle in evidence.oracles:
        points = [each for each in evidence.points if each.oracle == oracle and each.curve == RELIABILITY]
        names = learned(list(dict.fromkeys(each.scorer for each in points)))
        if not names:
            continue
        temperatures = sorted({each.temperature for each in points if each.temperature is not None})
        panels = Facets(names, x="confidence, %", y="ordered right, %")
        for index, scorer in enumerate(names):
            panels.add(
                index,
                name="calibrated",
                x=[50, 100],
                y=[50, 100],
                mode="lines",
                line={"color": GREY, "width": 1},
                hoverinfo="skip",
                legendrank=2000,
            )
            for temperature in spread_over(temperatures, _SHOWN):
                line = sorted(
                    (each for each in points if each.scorer == scorer and each.temperature == temperature),
                    key=lambda each: each.x,
                )
                colour = heat(1.0 if temperature is None else temperature)
                panels.add(
                    index,
                    name="all responses" if temperature is None else f"T = {temperature:g}",
                    x=[percent(each.x) for each in line],
                    y=[None if each.estimate is None else percent(each.estimate) for each in line],
                    mode="lines+markers",
                    line={"color": colour, "width": 2},
                    marker={"size": 5},
                    error_y={**arms(line, percent), "thickness": 1},
                    text=[hover(each, percent) for each in line],
                    hovertemplate="at confidence %{x:.0f} %: %{text}<extra></extra>",
                )
        panels.axes(x={"range": [48, 102]}, y={"range": [0, 105], "dtick": 25})
        yield Drawing(
            file_stem("reliability", oracle),
            f"Calibration against {oracle}",
            "Pairs of responses to one prompt, in ten groups of equal size by how sure the scorer is after one "
            "temperature was fitted at T = 1: how many are ordered as the oracle does. On the grey line a probability "
            "means what it says; below it the scorer is too sure of itself.",
            panels,
            oracle,
        )

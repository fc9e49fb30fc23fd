"""How far scorers agree with an oracle as temperature rises: the figure a stress test is made for."""

from collections.abc import Iterator, Mapping, Sequence

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, learned
from evaluation.figures.facets import Facets
from evaluation.figures.figure import Figure
from evaluation.figures.paths import add_path
from evaluation.figures.style import (
    BAND,
    BLUE,
    COLOURS,
    CONTROL_DASHES,
    DASHES,
    GREY,
    SYMBOLS,
    TEMPERATURE,
    correlation_range,
    short,
    temperature_ticks,
)
from evaluation.scorers.controls import UNTRAINED, is_control, untrained_like
from evaluation.statistics.estimate import Estimate
from evaluation.wording import chance, label

_TOGETHER = 4
"""More bands than these hide each other, so each scorer gets its own panel."""


def agreement(evidence: Evidence) -> Iterator[Drawing]:
    """r within prompts over temperature against every oracle."""
    for oracle in evidence.oracles:
        if evidence.about(oracle, "pearson_within"):
            yield agreement_with(evidence, "pearson_within", oracle)


def agreement_with(evidence: Evidence, statistic: str, oracle: str) -> Drawing:
    """A statistic of every scorer over temperature: a line with its band, controls grey. A gap where undefined."""
    paths = evidence.about(oracle, statistic)
    rows = [each for path in paths.values() for each in path]
    names = learned(paths)
    if all(each.estimate is None for each in rows):
        figure = Figure()
        figure.say_nothing(f"no {label(statistic)} with {oracle} at any temperature")
    else:
        # points of one temperature would stand above each other
        together = len(names) <= _TOGETHER and len({each.temperature for each in rows}) > 1
        figure = (_together if together or not names else _apart)(paths, names, statistic)
        figure.level(chance(statistic))
        figure.axes(
            x=temperature_ticks(each.temperature for each in rows),
            y={"range": correlation_range(rows, chance(statistic))},
        )
    return Drawing(
        file_stem("agreement", oracle, *([] if statistic == "pearson_within" else [statistic])),
        f"Agreement with {oracle}: {label(statistic)}",
        "How well a scorer orders responses as sampling temperature drives them away from what it was trained on. "
        "Bands are confidence intervals; grey is what costs nothing, trivial controls and untrained networks (from the "
        f"least to the greatest of them). A band that reaches the line at {chance(statistic):g}, what chance gives, or "
        "into the grey is agreement not shown.",
        figure,
        oracle,
    )


def _together(paths: Mapping[str, Sequence[Estimate]], names: Sequence[str], statistic: str) -> Figure:
    figure = Figure()
    for scorer in (scorer for scorer in paths if is_control(scorer)):  # first, so that they lie beneath
        style = {"color": GREY, "dash": CONTROL_DASHES.get(scorer, "longdash"), "width": 1.5}
        add_path(figure, scorer, paths[scorer], style, "circle", band=0.06, legendrank=2000)
    for index, scorer in enumerate(names):
        # past the last colour the same ones come again, dashed
        dash = DASHES[index // len(COLOURS) % len(DASHES)]
        style = {"color": COLOURS[index % len(COLOURS)], "dash": dash, "width": 2.5}
        add_path(figure, scorer, paths[scorer], style, SYMBOLS[index % len(SYMBOLS)], band=BAND, legendrank=1000)
    figure.axes(x={"title": TEMPERATURE}, y={"title": label(statistic)})
    figure.room_for_legend()
    return figure


def _apart(paths: Mapping[str, Sequence[Estimate]], names: Sequence[str], statistic: str) -> Figure:
    panels = Facets(names, x=TEMPERATURE, y=label(statistic))
    for index, scorer in enumerate(names):
        for control in (name for name in paths if name in CONTROL_DASHES):
            style = {"color": GREY, "dash": CONTROL_DASHES[control], "width": 1.2}
            panels.add(index, **_plain(control, paths[control], style))
        if twins := paths.get(untrained_like(scorer)):
            style = {"color": GREY, "width": 1.2, "dash": "longdash"}
            add_path(panels, UNTRAINED, twins, style, "circle", band=0.2, place=index, legendrank=2000)
        add_path(
            panels,
            scorer,
            paths[scorer],
            {"color": BLUE, "width": 2.5},
            "circle",
            band=BAND,
            place=index,
            showlegend=False,
        )
    return panels


def _plain(name: str, path: Sequence[Estimate], line: dict[str, object]) -> dict[str, object]:
    """A control as a line without band or markers: it is in every panel. Of one temperature it is a level."""
    x = [each.temperature for each in path]
    y = [each.estimate for each in path]
    if len(path) == 1:
        x, y = [*temperature_ticks(x)["range"]], y * 2
    return {
        "name": short(name),
        "x": x,
        "y": y,
        "mode": "lines",
        "line": line,
        "hoverinfo": "skip",
        "legendrank": 2000,
    }

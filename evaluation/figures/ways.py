"""Pooled, within prompts and with length held fixed: three questions that one number often hides."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, learned
from evaluation.figures.facets import Facets
from evaluation.figures.paths import add_path
from evaluation.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    TEMPERATURE,
    correlation_range,
    temperature_ticks,
)
from evaluation.statistics.estimate import Estimate
from evaluation.wording import label

_WAYS = {
    "pearson_within": (BLUE, "circle", "solid"),
    "pearson_pooled": (ORANGE, "square", "solid"),
    "pearson_within_partial_length": (GREEN, "diamond", "dash"),
}


def ways(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each learned scorer, or each control where nothing learned was scored."""
    for oracle in evidence.oracles:
        paths = {statistic: evidence.about(oracle, statistic) for statistic in _WAYS}
        names = learned(paths["pearson_within"])
        if not names or not (paths["pearson_pooled"] or paths["pearson_within_partial_length"]):
            continue
        panels = Facets(names, x=TEMPERATURE, y="r")
        shown: list[Estimate] = []
        for index, scorer in enumerate(names):
            for statistic, (colour, symbol, dash) in _WAYS.items():
                path = paths[statistic].get(scorer, [])
                shown += path
                style = {"color": colour, "width": 2, "dash": dash}
                # of one temperature they would cover each other
                beside = 0.1 * list(_WAYS).index(statistic) - 0.1 if len(path) == 1 else 0.0
                add_path(panels, label(statistic), path, style, symbol, band=0.1, place=index, beside=beside)
        if all(each.estimate is None for each in shown):
            continue
        panels.level(0)
        panels.axes(x=temperature_ticks(each.temperature for each in shown), y={"range": correlation_range(shown, 0.0)})
        yield Drawing(
            file_stem("pooled-within-partial", oracle),
            f"Three ways to ask for agreement with {oracle}",
            "Pooled r mixes how a scorer orders responses to one prompt with how it ranks prompts; within prompts only "
            "the first is left; holding length fixed takes out what length alone explains. Lines that part say which "
            "of these a printed r is made of.",
            panels,
            oracle,
        )

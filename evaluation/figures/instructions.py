"""IFEval over temperature: how many verifiable instructions are still followed, raw and above what garbage reaches."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing
from evaluation.figures.evidence import Evidence
from evaluation.figures.facets import Facets
from evaluation.figures.paths import add_path, percent
from evaluation.figures.style import BAND, BLUE, GREY, ORANGE, TEMPERATURE, temperature_ticks
from evaluation.statistics.above_floor import MEAN_ABOVE_FLOOR
from evaluation.statistics.averages import MEAN
from evaluation.statistics.estimate import Estimate

_LEVELS = {"prompt": "every instruction of a prompt", "instruction": "each instruction"}
_RULES = {"strict": (BLUE, "circle", "solid"), "loose": (ORANGE, "square-open", "dot")}


def instructions(evidence: Evidence) -> Iterator[Drawing]:
    """Four panels: prompts and instructions, raw and floor-corrected, strict and loose in each."""
    paths = {
        (level, rule, statistic): evidence.described(f"ifeval:{level}_{rule}", statistic)
        for level in _LEVELS
        for rule in _RULES
        for statistic in (MEAN, MEAN_ABOVE_FLOOR)
    }
    if not any(paths.values()):
        return
    corners = [(level, statistic) for statistic in (MEAN, MEAN_ABOVE_FLOOR) for level in _LEVELS]
    titles = [f"{_LEVELS[level]}, {'raw' if statistic == MEAN else 'above the floor'}" for level, statistic in corners]
    panels = Facets(titles, x=TEMPERATURE, y="followed, %", columns=2)
    for index, (level, statistic) in enumerate(corners):
        for rule, (colour, symbol, dash) in _RULES.items():
            path = paths[level, rule, statistic]
            if not path:
                continue
            floor = _floor(paths[level, rule, MEAN], paths[level, rule, MEAN_ABOVE_FLOOR])
            if statistic == MEAN and floor is not None:
                span = [path[0].temperature, path[-1].temperature]
                line = {"color": GREY, "width": 1.2, "dash": "dot" if rule == "loose" else "dash"}
                panels.add(index, name=f"floor, {rule}", x=span, y=[percent(floor)] * 2, mode="lines", line=line)
            style = {"color": colour, "width": 2.5, "dash": dash}
            add_path(panels, rule, path, style, symbol, band=BAND, scale=percent, place=index)
    panels.axes(x=temperature_ticks(each.temperature for path in paths.values() for each in path))
    yield Drawing(
        "ifeval",
        "Instructions followed (IFEval)",
        "Left, responses that follow every instruction; right, the mean share of a response's instructions that it "
        "follows. Loose forgives asterisks and a first or last line. The checker passes part of any garbage, the "
        "dashed floor; the lower panels have (accuracy − floor) / (1 − floor), 0 where garbage would do as well.",
        panels,
    )


def _floor(raw: list[Estimate], corrected: list[Estimate]) -> float | None:
    """f of c = (m - f) / (1 - f), from any temperature where both are known and c is below 1."""
    for m, c in zip(raw, corrected, strict=False):
        if m.estimate is not None and c.estimate is not None and c.estimate < 1:
            return (m.estimate - c.estimate) / (1 - c.estimate)
    return None

"""Best of N: what a scorer makes of its own choice, and what the oracle makes of it, as the choice gets wider."""

from collections.abc import Iterator, Sequence

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, learned, spread_over
from evaluation.figures.facets import Facets
from evaluation.figures.paths import arms, hover
from evaluation.figures.style import GREY, heat
from evaluation.statistics.best_of_n import CEILING, ORACLE, PROXY, kl_bound
from evaluation.statistics.estimate import CurvePoint

_SHOWN = 4
"""Temperatures: more of them cover each other's intervals."""


def best_of_n(evidence: Evidence) -> Iterator[Drawing]:
    """For every oracle the scorer's value and the oracle's, a panel for each learned scorer."""
    for oracle in evidence.oracles:
        points = [each for each in evidence.points if each.oracle == oracle and each.curve in (PROXY, ORACLE, CEILING)]
        points = [each for each in points if each.estimate is not None and each.stratum == "all"]
        names = learned([each.scorer for each in points])
        names = list(dict.fromkeys(names))
        wide = [each for each in points if each.x > 1]
        if not names or not wide:
            continue  # with one response to choose from there is no choice
        for curve, whose in ((ORACLE, oracle), (PROXY, "the scorer itself")):
            yield _curves(points, names, curve, whose, oracle)


def _curves(points: Sequence[CurvePoint], names: Sequence[str], curve: str, whose: str, oracle: str) -> Drawing:
    temperatures = sorted({each.temperature for each in points if each.temperature is not None and each.x > 1})
    by_oracle = curve == ORACLE
    panels = Facets(
        names,
        x="KL from the policy, at most, nats",
        y="value to the oracle" if by_oracle else "value to itself",
        shared_y=by_oracle,
    )
    for index, scorer in enumerate(names):
        for temperature in spread_over(temperatures, _SHOWN):
            colour = GREY if temperature is None else heat(temperature)
            name = "all responses" if temperature is None else f"T = {temperature:g}"
            own = _line(points, scorer, curve, temperature)
            panels.add(index, name=name, **_style(own, colour, "solid"), error_y={**arms(own), "thickness": 1.2})
            if by_oracle:
                ceiling = _line(points, scorer, CEILING, temperature)
                dotted = _style(ceiling, colour, "dot") | {"mode": "lines", "legendgroup": name, "showlegend": False}
                panels.add(index, name=f"{name}, ceiling", **dotted)
    told = (
        "the oracle's mean value of the response that the scorer picks from N. Dotted is the ceiling, the oracle's own "
        "pick. A line that rises with the dotted one is a scorer worth optimising; one that turns down is "
        "over-optimised."
        if by_oracle
        else "the scorer's mean value of its own pick from N, which can only rise. Where it rises and the oracle's "
        "value of the same picks, in the figure before, does not, the gain is the scorer's imagination."
    )
    return Drawing(
        file_stem("best-of-n", "oracle" if by_oracle else "proxy", oracle),
        f"Best of N by each scorer, as {whose} values it",
        f"Over log N − (N − 1)/N, the most that choosing the best of N moves away from the policy: {told}",
        panels,
        oracle,
    )


def _line(points: Sequence[CurvePoint], scorer: str, curve: str, temperature: float | None) -> list[CurvePoint]:
    own = [each for each in points if each.scorer == scorer and each.curve == curve]
    return sorted((each for each in own if each.temperature == temperature), key=lambda each: each.x)


def _style(line: Sequence[CurvePoint], colour: str, dash: str) -> dict[str, object]:
    return {
        "x": [kl_bound(each.x) for each in line],
        "y": [each.estimate for each in line],
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"size": 6},
        "text": [f"{each.scorer}, N = {each.x:g}<br>{hover(each)}" for each in line],
        "hovertemplate": "%{text}<extra></extra>",
    }

"""How scores and judgements are spread at each temperature, and how the spread moves."""

from collections.abc import Iterator

import numpy as np

from evaluation.figures.drawing import Drawing
from evaluation.figures.evidence import Evidence, Responses, learned
from evaluation.figures.facets import Facets
from evaluation.figures.style import BLUE, ORANGE, TEMPERATURE, temperature_ticks, translucent
from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.sample import temperatures_of

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def distributions(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each oracle, then one for each learned scorer."""
    found = evidence.responses
    if found is None or not temperatures_of(found.temperature):
        return
    series = {**found.judgements, **{name: found.scores[name] for name in learned(found.scores)}}
    panels = Facets(list(series), x=TEMPERATURE, y="value", shared_y=False)
    for index, (name, values) in enumerate(series.items()):
        _fan(panels, index, found, values, ORANGE if name in found.judgements else BLUE)
    panels.axes(x=temperature_ticks(temperatures_of(found.temperature)))
    sample = f" of {len(found.temperature):,} of {found.n_total:,} responses" * (len(found.temperature) < found.n_total)
    yield Drawing(
        "distributions",
        "How judgements and scores are spread",
        "The line is the median, the darker band holds the middle half, the paler one 90 % of the values"
        f"{sample}; orange for oracles, blue for scorers. A correlation falls by itself where a band closes. Scores "
        "that stay where they were while judgements fall have not noticed.",
        panels,
    )


def _fan(panels: Facets, index: int, found: Responses, values: Floats, colour: str) -> None:
    known = np.isfinite(values)
    temperatures = [t for t in temperatures_of(found.temperature) if (known & (found.temperature == t)).any()]
    fans = [np.quantile(values[known & (found.temperature == t)], _QUANTILES) for t in temperatures]
    lowest, low, middle, high, highest = ([float(f"{fan[place]:.4g}") for fan in fans] for place in range(5))
    for bottom, top, opacity in ((lowest, highest, 0.14), (low, high, 0.26)):
        panels.add(
            index,
            x=[*temperatures, *reversed(temperatures)],
            y=[*top, *reversed(bottom)],
            fill="toself",
            fillcolor=translucent(colour, opacity),
            line={"width": 0 if len(temperatures) > 1 else 6, "color": translucent(colour, opacity)},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
        )
    panels.add(
        index,
        x=temperatures,
        y=middle,
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 6},
        showlegend=False,
        customdata=list(zip(lowest, low, high, highest, strict=True)),
        hovertemplate="T = %{x}: median %{y}<br>half within %{customdata[1]} to %{customdata[2]}"
        "<br>90 % within %{customdata[0]} to %{customdata[3]}<extra></extra>",
    )

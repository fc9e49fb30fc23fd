"""Score against judgement, response by response, a panel for each temperature."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, Responses, learned
from evaluation.figures.facets import Facets
from evaluation.figures.style import BLUE, ORANGE, short
from evaluation.statistics.bootstrap import Floats

_PANELS = 12


def scatter(evidence: Evidence) -> Iterator[Drawing]:
    """The first learned scorer, or every one, against every oracle."""
    found = evidence.responses
    if found is None:
        return
    for oracle in found.judgements:
        for scorer in learned(found.scores)[: None if evidence.every_alike else 1]:
            yield _scatter(found, scorer, oracle)


def _scatter(found: Responses, scorer: str, oracle: str) -> Drawing:
    temperatures = found.temperatures()[-_PANELS:] or [float("nan")]
    titles = [f"T = {each:g}" if np.isfinite(each) else "all responses" for each in temperatures]
    panels = Facets(titles, x="score", y=short(oracle, 22))
    for index, temperature in enumerate(temperatures):
        at = found.temperature == temperature if np.isfinite(temperature) else np.ones(len(found.temperature), bool)
        for name, colour, symbol, rows in (
            ("text", BLUE, "circle", at & ~found.degenerate),
            ("degenerate", ORANGE, "x", at & found.degenerate),
        ):
            if not rows.any():
                continue
            panels.add(
                index,
                name=name,
                x=_told(found.scores[scorer][rows]),
                y=_told(found.judgements[oracle][rows]),
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.45},
                hovertemplate="score %{x}, judgement %{y}<extra></extra>",
            )
    panels.axes(x={"matches": "x"})
    sample = f" Shown are {len(found.temperature):,} of {found.n_total:,} responses."
    return Drawing(
        file_stem("scatter", oracle, scorer),
        f"{scorer} against {oracle}, response by response",
        "Each point is one response. A cloud that leans to the right is agreement; one that loses its lean as T rises "
        "has left the scorer's ground. Orange crosses are no text any more: where they alone make the slope, the "
        "scorer only tells text from noise." + (sample if len(found.temperature) < found.n_total else ""),
        panels.figure,
        oracle,
    )


def _told(values: Floats) -> NDArray[np.float32]:
    """Single precision, which is more than a point shows and half of what travels."""
    return values.astype(np.float32)

"""Score against judgement, response by response, a panel for each temperature."""

from base64 import b64encode
from collections.abc import Iterator, Sequence

import numpy as np

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, Responses, learned, spread_over
from evaluation.figures.facets import Facets
from evaluation.figures.style import BLUE, ORANGE, short
from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.sample import temperatures_of

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
    graded, places = temperatures_of(found.temperature), _places(found)
    panels = Facets([_title(each, graded) for each in places], x="score", y=short(oracle, 22))
    drawn = 0
    for index, temperature in enumerate(places):
        at = np.isnan(found.temperature) if temperature is None else found.temperature == temperature
        drawn += int(at.sum())
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
    shown = [each for each in places if each is not None]
    spread = f", at {len(shown)} of {len(graded)} temperatures" if len(shown) < len(graded) else ""
    sample = f" Shown are {drawn:,} of {found.n_total:,} responses{spread}."
    return Drawing(
        file_stem("scatter", oracle, scorer),
        f"{scorer} against {oracle}, response by response",
        "Each point is one response. A cloud that leans to the right is agreement; one that loses its lean as T rises "
        "has left the scorer's ground. Orange crosses are no text any more: where they alone make the slope, the "
        "scorer only tells text from noise." + (sample if drawn < found.n_total else ""),
        panels,
        oracle,
    )


def _places(found: Responses) -> list[float | None]:
    """A panel each: temperatures spread over all of them, and None for the responses that have none."""
    graded = temperatures_of(found.temperature)
    if not np.isnan(found.temperature).any():
        return spread_over(graded, _PANELS)
    return [*(spread_over(graded, _PANELS - 1) if graded else ()), None]


def _title(temperature: float | None, graded: Sequence[float]) -> str:
    if temperature is not None:
        return f"T = {temperature:g}"
    return "no temperature" if graded else "all responses"


def _told(values: Floats) -> dict[str, str]:
    """Single precision, which is more than a point shows, packed: a third of what numbers in words would take."""
    return {"dtype": "f4", "bdata": b64encode(values.astype("<f4").tobytes()).decode()}

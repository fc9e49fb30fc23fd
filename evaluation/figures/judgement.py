"""What oracles think of the policy's responses as temperature rises."""

from collections.abc import Iterator

import plotly.graph_objects as go

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence
from evaluation.figures.paths import add_path
from evaluation.figures.style import BAND, COLOURS, SYMBOLS, TEMPERATURE, blank, room_for_legend, temperature_ticks
from evaluation.statistics.averages import MEAN
from evaluation.statistics.estimate import Estimate


def judgement(evidence: Evidence) -> Iterator[Drawing]:
    """The mean judgement of every oracle, of the one policy or of several."""
    for oracle in dict.fromkeys(each.oracle for each in evidence.estimates):
        paths = evidence.about(oracle, MEAN)  # of policies that were compared
        own = evidence.described(oracle, MEAN) if oracle in evidence.oracles else []
        if paths or own:
            yield Drawing(
                file_stem("judgement", oracle),
                f"What {oracle} thinks of the responses",
                "The mean judgement at each temperature with its confidence interval: what becomes of the policy, "
                "whoever scores it.",
                _figure(paths or {oracle: own}, oracle),
                oracle,
            )


def _figure(paths: dict[str, list[Estimate]], oracle: str) -> go.Figure:
    figure = blank()
    for index, (name, path) in enumerate(paths.items()):
        style = {"color": COLOURS[index % len(COLOURS)], "width": 2.5}
        add_path(figure, name, path, style, SYMBOLS[index % len(SYMBOLS)], band=BAND)
    figure.update_layout(showlegend=len(paths) > 1, height=320)
    if len(paths) > 1:
        room_for_legend(figure)
    figure.update_xaxes(
        title_text=TEMPERATURE, **temperature_ticks(each.temperature for path in paths.values() for each in path)
    )
    figure.update_yaxes(title_text="mean judgement")
    return figure

"""What oracles think of the policy's responses as temperature rises."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence
from evaluation.figures.figure import Figure
from evaluation.figures.paths import add_path
from evaluation.figures.style import BAND, COLOURS, SYMBOLS, TEMPERATURE, temperature_ticks
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


def _figure(paths: dict[str, list[Estimate]], oracle: str) -> Figure:
    figure = Figure()
    for index, (name, path) in enumerate(paths.items()):
        style = {"color": COLOURS[index % len(COLOURS)], "width": 2.5}
        add_path(figure, name, path, style, SYMBOLS[index % len(SYMBOLS)], band=BAND)
    figure.layout |= {"showlegend": len(paths) > 1, "height": 320}
    if len(paths) > 1:
        figure.room_for_legend()
    figure.axis(
        "x", title=TEMPERATURE, **temperature_ticks(each.temperature for path in paths.values() for each in path)
    )
    figure.axis("y", title="mean judgement")
    return figure

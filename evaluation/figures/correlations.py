"""An audit: every scorer's correlation within prompts, pooled and between prompts, each with its interval."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence
from evaluation.figures.figure import Figure
from evaluation.figures.paths import arms, hover
from evaluation.figures.style import BLUE, GREEN, ORANGE, correlation_range, short
from evaluation.statistics.estimate import Estimate
from evaluation.wording import label

_WAYS = {
    "pearson_within": ("circle", BLUE),
    "pearson_pooled": ("square-open", ORANGE),
    "pearson_between": ("diamond-open", GREEN),
}


def correlations(evidence: Evidence) -> Iterator[Drawing]:
    """For each oracle, where no temperatures are recorded: with them, agreement over temperature says more."""
    if any(each.temperature is not None for each in evidence.estimates):
        return
    for oracle in evidence.oracles:
        paths = evidence.about(oracle, *_WAYS, graded=False)
        if paths:
            yield Drawing(
                file_stem("correlations", oracle),
                f"Agreement with {oracle}",
                "Within prompts, responses to the same prompt are compared; between prompts, the prompts' means; "
                "pooled mixes both. Lines are confidence intervals; one that holds 0 shows no agreement.",
                _forest(paths, oracle),
                oracle,
            )


def _forest(paths: dict[str, list[Estimate]], oracle: str) -> Figure:
    scorers = list(paths)
    rows = [each for path in paths.values() for each in path]
    figure = Figure()
    for index, (statistic, (symbol, colour)) in enumerate(_WAYS.items()):
        shown = [each for each in rows if each.statistic == statistic and each.estimate is not None]
        figure.add(
            name=label(statistic),
            x=[each.estimate for each in shown],
            # one line for each statistic below the scorer's own, so that intervals do not cover each other
            y=[scorers.index(each.scorer) + (index - 1) * 0.22 for each in shown],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x=arms(shown),
            hovertemplate="%{text}<extra></extra>",
            text=[f"{each.scorer}, {label(statistic)}: {hover(each)}" for each in shown],
        )
    figure.level(0, upright=True)
    figure.axis("x", title=f"correlation with {oracle}", range=correlation_range(rows, 0.0))
    figure.axis(
        "y",
        tickvals=list(range(len(scorers))),
        ticktext=[short(each) for each in scorers],
        range=[len(scorers) - 0.5, -0.5],
        showgrid=False,
    )
    figure.layout["height"] = 130 + 60 * len(scorers)
    figure.room_for_legend()
    return figure

"""Which of two policies is judged better as temperature rises: Figure 3 of the GANPO paper."""

from collections.abc import Iterable, Iterator, Sequence

from evaluation.figures.drawing import Drawing
from evaluation.figures.evidence import Evidence
from evaluation.figures.facets import Facets
from evaluation.figures.paths import add_path, percent
from evaluation.figures.style import BAND, BLUE, TEMPERATURE, temperature_ticks
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.policy_wins import WIN_RATE


def wins(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each oracle and pair of policies, each pair one way round."""
    paths: dict[tuple[str, str, str], list[Estimate]] = {}
    for each in evidence.estimates:
        if each.statistic.startswith(WIN_RATE) and each.temperature is not None:
            rival = each.statistic.removeprefix(WIN_RATE)
            if (each.oracle, rival, each.scorer) not in paths:
                paths.setdefault((each.oracle, each.scorer, rival), []).append(each)
    if not paths:
        return
    several = len({(winner, rival) for _, winner, rival in paths}) > 1
    titles = [f"{winner} over {rival}, {oracle}" if several else oracle for oracle, winner, rival in paths]
    panels = Facets(titles, x=TEMPERATURE, y="wins, %", legend=False, panel_height=240, columns=2)
    for index, path in enumerate(paths.values()):
        path.sort(key=lambda each: each.temperature or 0.0)
        style = {"color": BLUE, "width": 2.5}
        add_path(panels, titles[index], path, style, "circle", band=BAND, scale=percent, place=index)
    panels.level(50)
    panels.axes(
        x=temperature_ticks(each.temperature for path in paths.values() for each in path),
        y={"range": _range(paths.values())},
    )
    (_, winner, rival), *_ = paths
    yield Drawing(
        "wins",
        "Win rates over temperature" if several else f"{winner} over {rival}",
        "Of pairs of responses to the same prompt at the same temperature, the share in which the first policy's is "
        "judged better, a tie counting half; a panel for each oracle. A band above 50 % is a win, a band on the line "
        "is not resolved.",
        panels,
    )


def _range(paths: Iterable[Sequence[Estimate]]) -> list[float]:
    """Around the line of a draw, as far as any interval goes and ten points at least."""
    known = [percent(end) for path in paths for each in path for end in (each.lower, each.upper) if end is not None]
    return [max(min([40.0, *known]) - 3, -2), min(max([60.0, *known]) + 3, 102)]

"""What the numbers are not about: responses without a score, and prompts that tell nothing."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing
from evaluation.figures.evidence import Evidence
from evaluation.figures.facets import Facets
from evaluation.figures.style import GREY, ORANGE, short
from evaluation.statistics.averages import MEAN
from evaluation.statistics.estimate import Estimate


def missing(evidence: Evidence) -> Iterator[Drawing]:
    """A bar for each scorer and oracle: what it lacks of all responses, and where its values are all equal."""
    scored = dict.fromkeys(each.scorer for each in evidence.estimates if each.scorer != each.oracle)
    wanted = dict.fromkeys([*scored, *evidence.oracles])
    means = {
        each.scorer: each
        for each in evidence.estimates
        if each.statistic == MEAN and each.scorer == each.oracle and each.temperature is None and each.stratum == "all"
    }
    lacking = {name: means[name] for name in wanted if name in means and means[name].n_total}
    if not lacking:
        return
    names = list(lacking)
    panels = Facets(
        ["responses without a value", "prompts without contrast"],
        x="%",
        y="",
        columns=2,
        panel_height=max(26 * len(names), 60),
        legend=False,
    )
    shares = [_share(each.n_dropped, each.n_total) for each in lacking.values()]
    texts = [f" {each.n_dropped:,} of {each.n_total or 0:,}" for each in lacking.values()]
    worst = [_worst(evidence, name) for name in names]
    equal = [_share(each.n_constant_prompts or 0, each.n_prompts) if each else 0.0 for each in worst]
    told = [_told(each) for each in worst]
    for place, (x, text) in enumerate(((shares, texts), (equal, told))):
        panels.add(
            place,
            type="bar",
            x=x,
            y=list(range(len(names))),
            orientation="h",
            text=text,
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            marker={"color": [ORANGE if each > 0 else GREY for each in x]},
            width=0.55,
            hoverinfo="skip",
            showlegend=False,
        )
    # room for the words behind the longest bar
    panels.axes(
        x={"range": [0, 165], "tickvals": [0, 25, 50, 75, 100]},
        y={
            "tickvals": list(range(len(names))),
            "ticktext": [short(each) for each in names],
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
        },
    )
    yield Drawing(
        "missing",
        "What is missing",
        "Left, responses that a scorer or oracle gave no value to; they are left out of its numbers and never "
        "replaced. Right, prompts to which all responses have one score or one judgement, at the temperature where "
        "they are most: they say nothing about order within prompts.",
        panels,
    )


def _worst(evidence: Evidence, name: str) -> Estimate | None:
    """The correlation within prompts in which most prompts are constant."""
    rows = [
        each
        for each in evidence.estimates
        if each.scorer == name and each.statistic == "pearson_within" and each.stratum == "all"
    ]
    rows = [each for each in rows if each.n_constant_prompts is not None and each.n_prompts]
    return max(rows, key=lambda each: _share(each.n_constant_prompts or 0, each.n_prompts), default=None)


def _told(worst: Estimate | None) -> str:
    if worst is None:
        return " –"
    where = "" if worst.temperature is None or not worst.n_constant_prompts else f" at T = {worst.temperature:g}"
    return f" {worst.n_constant_prompts:,} of {worst.n_prompts:,}{where}"


def _share(part: int, whole: int | None) -> float:
    return 100 * part / whole if whole else 0.0

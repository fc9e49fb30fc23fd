"""Which scorer is better than which, on the same responses: a forest plot."""

from collections.abc import Iterator, Sequence

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence
from evaluation.figures.figure import Figure
from evaluation.figures.paths import arms, hover
from evaluation.figures.style import BLUE, GREY, ORANGE, short
from evaluation.statistics.estimate import Comparison

_READINGS = {"better": (BLUE, "circle"), "worse": (ORANGE, "square"), "not resolved": (GREY, "circle-open")}
_NARROW = 20
"""Characters of names that leave room for the intervals on any screen."""
_MOST = 45
"""Rows; beyond them only the largest differences are drawn, and the caption says so."""


def differences(evidence: Evidence) -> Iterator[Drawing]:
    """Every pair of scorers over all temperatures together, against every oracle."""
    for oracle in dict.fromkeys(each.oracle for each in evidence.comparisons):
        rows = [each for each in evidence.comparisons if each.oracle == oracle and each.stratum == "all"]
        rows = [each for each in rows if each.temperature is None and each.estimate is not None]
        if rows:
            # the larger first, so that a block of one colour is one finding
            turned = sorted(map(_forwards, rows), key=lambda each: -(each.estimate or 0.0))
            shown = turned[:_MOST]
            left_out = f" The {len(rows) - len(shown)} smallest are left out." if len(shown) < len(rows) else ""
            yield Drawing(
                file_stem("differences", oracle),
                f"Which scorer agrees better with {oracle}",
                "atanh r within prompts of the first minus the second, over all temperatures on the responses that "
                "both scored. The intervals hold all at once. One that keeps clear of 0 is a difference; grey is not "
                f"resolved.{left_out}",
                _forest(shown, [_pair(each) for each in shown]),
                oracle,
            )


def differences_between(rows: Sequence[Comparison], a: str, b: str) -> Drawing:
    """One scorer of ``a`` and ``b`` at each temperature; of several, each over all temperatures. By one oracle."""
    known = [each for each in rows if each.estimate is not None]
    pairs = list(dict.fromkeys((each.scorer_a, each.scorer_b) for each in rows))
    shown = known if len(pairs) == 1 else [each for each in known if each.temperature is None]
    names = [_temperature(each) if len(pairs) == 1 else _pair(each) for each in shown]
    oracle = rows[0].oracle
    return Drawing(
        file_stem("differences", oracle, a, b),
        f"Agreement with {oracle}: {a} minus {b}",
        "Difference of atanh r within prompts; the intervals at one temperature hold all at once. One that keeps clear "
        f"of 0 is a difference: to the right {a} agrees better. Grey is not resolved.",
        _forest(shown, names),
        oracle,
    )


def _temperature(row: Comparison) -> str:
    return "all T" if row.temperature is None else f"T = {row.temperature:g}"


def _pair(row: Comparison) -> str:
    if row.scorer_a == row.scorer_b:
        return short(row.scorer_a, 40)
    return f"{short(row.scorer_a, 34)} − {short(row.scorer_b, 34)}"


def _forwards(row: Comparison) -> Comparison:
    """The same difference with the better of the two named first."""
    if row.estimate is None or row.estimate >= 0:
        return row
    turned = {
        "scorer_a": row.scorer_b,
        "scorer_b": row.scorer_a,
        "estimate": -row.estimate,
        "lower": None if row.upper is None else -row.upper,
        "upper": None if row.lower is None else -row.lower,
        "verdict": {"better": "worse", "worse": "better"}.get(row.verdict, row.verdict),
    }
    return row.model_copy(update=turned)


def _forest(rows: Sequence[Comparison], names: Sequence[str]) -> Figure:
    figure = Figure()
    for verdict, (colour, symbol) in _READINGS.items():
        shown = [(place, each) for place, each in enumerate(rows) if each.verdict == verdict]
        if shown:
            own = [each for _, each in shown]
            figure.add(
                name=verdict,
                x=[each.estimate for each in own],
                y=[place for place, _ in shown],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8},
                error_x=arms(own),
                text=[f"{each.scorer_a} − {each.scorer_b}: {hover(each)}" for each in own],
                hovertemplate="%{text}<extra></extra>",
            )
    figure.level(0, upright=True)
    figure.axis("x", title="difference of atanh r within prompts")
    figure.axis(
        "y",
        tickvals=list(range(len(rows))),
        ticktext=list(names),
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
        tickfont={"size": 11},
    )
    long = any(len(name) > _NARROW for name in names)
    figure.layout |= {"height": 120 + 22 * len(rows), "meta": {"min_width": 620} if long else {}}
    figure.room_for_legend()
    return figure

"""A run or an audit as one HTML file that needs no network, and as a table for the terminal."""

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from rich.table import Table
from rich.text import Text

from evaluation.course import course
from evaluation.figures import Evidence, agreement, correlations, draw
from evaluation.figures.figure import Figure
from evaluation.grid import Grid, is_graded, scorers_by_statistic, scorers_by_temperature, smallest_leads
from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.statistics.estimate import Estimate, oracles_of
from evaluation.verdict import verdict
from evaluation.wording import Reading, breakable, interval, label, number, reading, unbroken
from trainer.files import write_atomically


@dataclass(frozen=True)
class _Section:
    """A figure, a table, or both, with what to read off them."""

    title: str
    text: str
    figure: Markup | None = None
    grid: Grid | None = None


_KINDS = {"audit": "Audit", "win_rate": "Comparison", "benchmark": "Benchmark", "downstream": "Benchmark"}


def write_report(summary: dict[str, Any], evidence: Evidence, path: Path) -> None:
    """Write what ``render_report`` gives. Raises StorageFailure."""
    write_atomically(path, render_report(summary, evidence))


def render_report(summary: dict[str, Any], evidence: Evidence) -> str:
    """One HTML file with verdict, figures, tables and the numbers behind them.

    ``summary`` is what a recipe returned; see docs/statistics.md.
    """
    environment = Environment(
        loader=PackageLoader("evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    estimates = evidence.estimates
    return environment.get_template("report.html").render(
        title=summary.get("policy") or Path(str(summary.get("path") or summary.get("name", "responses"))).name,
        kind=_kind(summary, evidence),
        facts=_facts(summary, evidence),
        notices=summary.get("notices", []),
        verdict=verdict(estimates) if estimates or not evidence.metrics else course(evidence.metrics),
        sections=_sections(evidence),
        estimates=estimates,
        csv=base64.b64encode(_csv(estimates).encode()).decode(),
        method=estimates[0].method if estimates else "",
        # plotly's own release, read from the package that was installed with this one
        plotly=Markup(get_plotlyjs()),  # noqa: S704
        number=number,
        interval=interval,
        unbroken=unbroken,
        breakable=breakable,
        label=label,
        is_lead=lambda each: each.statistic.startswith(LEAD_WITHIN),
        reading=reading,
        Reading=Reading,
    )


def table(estimates: Sequence[Estimate]) -> Table:
    """Scorer x temperature by the first oracle; where no temperature is recorded, scorer x statistic.

    Dim numbers are those whose interval includes what chance gives.
    """
    graded = is_graded(estimates)
    grid = _grid(estimates, next(iter(oracles_of(estimates)), ""))
    result = Table(
        title=grid.title,
        caption="\n".join(["below each number its interval; dim: not resolved from chance", *grid.notes]),
        title_justify="left",
        caption_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    result.add_column("T" if graded else "", overflow="fold")
    for heading in grid.headings:
        result.add_column(heading.removeprefix("T = "), justify="right")
    for row, previous in zip(grid.rows, [None, *grid.rows], strict=False):
        if row.trivial and (previous is None or not previous.trivial):
            result.add_row(Text("trivial controls", style="dim"))
        result.add_row(row.name, *(_cell(each) for each in row.cells))
    return result


def _cell(estimate: Estimate | None) -> Text:
    if estimate is None or estimate.estimate is None:
        return Text("–", style="dim")
    style = "dim" if reading(estimate) is Reading.UNRESOLVED else ""
    if estimate.lower is None or estimate.upper is None:
        return Text(f"{number(estimate.estimate)}\nno interval", style="dim")
    text = Text(number(estimate.estimate), style=style or "bold")
    # without brackets the two ends may fold under each other where the terminal is narrow
    return text.append(f"\n{number(estimate.lower)} {number(estimate.upper)}", style="dim")


def _sections(evidence: Evidence) -> list[_Section]:
    """Every drawing once, each table below the figure that shows the same."""
    main = {drawing.name for build in (agreement, correlations) for drawing in build(evidence)}
    sections: list[_Section] = []
    for drawing in draw(evidence):
        figure = _json(drawing.figure)
        if drawing.name in main and drawing.oracle is not None:
            grid = _grid(evidence.estimates, drawing.oracle)
            sections.append(_Section(drawing.title, drawing.caption, figure, grid))
            sections += _leads(evidence.estimates, drawing.oracle)
        else:
            sections.append(_Section(drawing.title, drawing.caption, figure))
    return sections


def _grid(estimates: Sequence[Estimate], oracle: str) -> Grid:
    if is_graded(estimates):
        return scorers_by_temperature(estimates, oracle)
    return scorers_by_statistic(estimates, oracle)


def _leads(estimates: Sequence[Estimate], oracle: str) -> list[_Section]:
    ahead = smallest_leads(estimates, oracle)
    text = (
        "Difference of atanh r within prompts between a scorer and the trivial control that comes closest, on the same "
        "responses; a control may be read either way. Above zero, the scorer knows something that no control does."
    )
    return [_Section(f"Lead over trivial controls, by {oracle}", text, grid=ahead)] if ahead.rows else []


def _kind(summary: dict[str, Any], evidence: Evidence) -> str:
    if evidence.metrics:
        return "Training"
    return _KINDS.get(str(summary.get("kind")), "Stress test" if is_graded(evidence.estimates) else "Audit")


def _facts(summary: dict[str, Any], evidence: Evidence) -> list[tuple[str, str]]:
    """What the reader needs to know of the run, as far as its summary tells."""
    facts = []
    estimates = evidence.estimates
    if not estimates and evidence.metrics:
        steps = max(step for each in evidence.metrics for step, _ in each.points)
        return [("steps", f"{steps:,}"), ("metrics", f"{len(evidence.metrics)}")]
    for key, words in (("n_responses", "responses"), ("n_prompts", "prompts")):
        known = summary.get(key, max((getattr(each, key) for each in estimates), default=0))
        facts.append((words, f"{known:,}"))
    temperatures = sorted({each.temperature for each in estimates if each.temperature is not None})
    if temperatures:
        facts.append(("temperatures", ", ".join(f"{each:g}" for each in temperatures)))
    oracles = oracles_of(estimates)
    facts.append(("oracles" if len(oracles) > 1 else "oracle", ", ".join(oracles)))
    return facts


def _csv(estimates: Sequence[Estimate]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Estimate.model_fields))
    writer.writeheader()
    writer.writerows(each.model_dump() for each in estimates)
    return text.getvalue()


def _json(figure: Figure) -> Markup:
    """A figure as JSON inside a script element, which no text in it can close."""
    return Markup(figure.to_json().replace("<", "\\u003c"))  # noqa: S704

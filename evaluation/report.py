"""A run or an audit as one HTML file that needs no network, and as a table for the terminal."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from rich.table import Table
from rich.text import Text

from evaluation.figures import correlation_by_temperature, forest, length_by_temperature, oracle_by_temperature
from evaluation.grid import Grid, is_graded, oracles_of, scorers_by_statistic, scorers_by_temperature, smallest_leads
from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.statistics.averages import MEAN
from evaluation.statistics.estimate import Estimate
from evaluation.verdict import Reading, reading, verdict
from evaluation.wording import CORRELATIONS, interval, label, number, unbroken
from trainer.files import write_atomically


@dataclass(frozen=True)
class _Section:
    """A figure or a table with what it shows."""

    title: str
    text: str
    figure: Markup | None = None
    grid: Grid | None = None


def write_report(summary: dict[str, Any], estimates: Sequence[Estimate], path: Path) -> None:
    """Write one HTML file with verdict, figures, tables and the numbers behind them.

    ``summary`` is what a stress test or an audit returned; see docs/statistics.md. Raises StorageFailure.
    """
    environment = Environment(
        loader=PackageLoader("evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=summary.get("policy") or Path(str(summary.get("path") or summary.get("name", "responses"))).name,
        kind="Stress test" if is_graded(estimates) else "Audit",
        facts=_facts(summary, estimates),
        notices=summary.get("notices", []),
        verdict=verdict(estimates),
        sections=_sections(estimates),
        estimates=estimates,
        csv=base64.b64encode(_csv(estimates).encode()).decode(),
        method=estimates[0].method if estimates else "",
        # plotly's own release, read from the package that was installed with this one
        plotly=Markup(get_plotlyjs()),  # noqa: S704
        number=number,
        interval=interval,
        unbroken=unbroken,
        label=label,
        is_lead=lambda each: each.statistic.startswith(LEAD_WITHIN),
        reading=reading,
        Reading=Reading,
    )
    write_atomically(path, page)


def table(estimates: Sequence[Estimate], statistic: str = "pearson_within", oracle: str | None = None) -> Table:
    """Scorer x temperature for one statistic; where no temperature is recorded, scorer x statistic.

    Dim numbers are those whose interval includes what chance gives.
    """
    known = oracles_of(estimates)
    oracle = oracle or (known[0] if known else "")
    graded = is_graded(estimates)
    grid = scorers_by_temperature(estimates, statistic, oracle) if graded else scorers_by_statistic(estimates, oracle)
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


def _sections(estimates: Sequence[Estimate]) -> list[_Section]:
    sections: list[_Section] = []
    for oracle in oracles_of(estimates):
        if is_graded(estimates):
            sections += _by_temperature(estimates, oracle)
        elif any(each.statistic in CORRELATIONS and each.oracle == oracle for each in estimates):
            sections.append(
                _Section(
                    f"Agreement with {oracle}",
                    "Within prompts, responses to the same prompt are compared; between prompts, the prompts' means; "
                    "pooled mixes both. Lines are confidence intervals.",
                    _json(forest(estimates, oracle)),
                    scorers_by_statistic(estimates, oracle),
                )
            )
        ahead = smallest_leads(estimates, oracle)
        if ahead.rows:
            text = (
                "Difference of atanh r within prompts between a scorer and the trivial control that comes closest, on "
                "the same responses; a control may be read either way. Above zero, the scorer knows something that "
                "no control does."
            )
            sections.append(_Section("Lead over trivial controls", text, grid=ahead))
    if any(each.statistic == MEAN and each.scorer == "length" for each in estimates):
        text = "Typical length (geometric mean) and the share of responses cut at the token limit."
        sections.append(_Section("Length and truncation", text, _json(length_by_temperature(estimates))))
    return sections


def _by_temperature(estimates: Sequence[Estimate], oracle: str) -> list[_Section]:
    text = (
        "How well a scorer orders responses to the same prompt, as sampling temperature drives them away from what it "
        "was trained on. Bands are confidence intervals; grey lines are trivial controls."
    )
    figure = _json(correlation_by_temperature(estimates, "pearson_within", oracle))
    sections = [
        _Section(
            f"Agreement with {oracle} within prompts",
            text,
            figure,
            scorers_by_temperature(estimates, "pearson_within", oracle),
        )
    ]
    if any(each.statistic == MEAN and each.scorer == oracle for each in estimates):
        text = "What becomes of the policy itself: the mean judgement of its responses."
        sections.append(_Section(f"Judgement of {oracle}", text, _json(oracle_by_temperature(estimates, oracle))))
    return sections


def _facts(summary: dict[str, Any], estimates: Sequence[Estimate]) -> list[tuple[str, str]]:
    """What the reader needs to know of the run, as far as its summary tells."""
    facts = []
    for key, words in (("n_responses", "responses"), ("n_prompts", "prompts")):
        known = summary.get(key, max((getattr(each, key) for each in estimates), default=0))
        facts.append((words, f"{known:,}"))
    temperatures = sorted({each.temperature for each in estimates if each.temperature is not None})
    if temperatures:
        facts.append(("temperatures", ", ".join(f"{each:g}" for each in temperatures)))
    facts.append(("oracles" if len(oracles_of(estimates)) > 1 else "oracle", ", ".join(oracles_of(estimates))))
    return facts


def _csv(estimates: Sequence[Estimate]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Estimate.model_fields))
    writer.writeheader()
    writer.writerows(each.model_dump() for each in estimates)
    return text.getvalue()


def _json(figure: go.Figure) -> Markup:
    """A figure as JSON inside a script element, which no text in it can close."""
    return Markup(json.dumps(json.loads(figure.to_json())).replace("<", "\\u003c"))  # noqa: S704

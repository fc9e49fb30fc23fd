"""A reproduced result as one page that needs no network, and the same in Markdown."""

from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go

from evaluation.reproduction.findings import Study
from evaluation.reproduction.result import Result
from evaluation.reproduction.tables import Table, claims_beside_paper

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2em auto;padding:0 1em;color:#1d2430}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #d9dce2;padding:.35em .7em;"
    "text-align:left;vertical-align:top}th{font-weight:600}"
)


def tables(result: Result, study: Study) -> list[Table]:
    """Claims, controls, and the numbers beside the paper's."""
    return [
        claims_beside_paper("Claims of the paper", study.paper),
        claims_beside_paper("Controls", study.ours),
        result.table(study),
    ]


def summary(study: Study) -> str:
    """How the claims came out, and how the intervals were made."""
    words = [finding.word for finding in study.paper]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("reproduced", "not reproduced", "reversed"))
    how = (
        f"Student's t over {len(study.seeds)} seeds, paired within them"
        if len(study.seeds) > 1
        else "bootstrap of prompts: one seed, which says nothing of other training runs"
    )
    return f"Of {len(words)} tested claims of the paper {counts}. 95 % intervals: {how}."


def markdown(result: Result, title: str, study: Study, facts: Mapping[str, str]) -> str:
    """The page in Markdown, without its figure."""
    where = "; ".join(f"{name} {value}" for name, value in facts.items())
    parts = [f"# {result.title}\n", f"{title}. {summary(study)} {where}.\n"]
    return "\n".join([*parts, *(table.markdown() for table in tables(result, study))])


def html(result: Result, title: str, study: Study, facts: Mapping[str, str]) -> str:
    """The page with its figure; plotly.js is in it."""
    figure: go.Figure = result.figure(study)
    where = "; ".join(f"{name} {value}" for name, value in facts.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(result.title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(result.title)}</h1>"
        f"<p>{escape(title)}. {escape(summary(study))} {escape(where)}.</p>"
        f"{''.join(_table(table) for table in tables(result, study)[:2])}"
        f"{figure.to_html(full_html=False, include_plotlyjs=True)}"
        f"{_table(result.table(study))}</html>\n"
    )


def _table(table: Table) -> str:
    def row(cells: object, tag: str) -> str:
        assert isinstance(cells, list | tuple)
        return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    body = "".join(row(list(cells), "td") for cells in table.rows)
    return f"<h2>{escape(table.title)}</h2><table>{row(list(table.headings), 'th')}{body}</table>"

"""Tables, once for the terminal and the document, and what their cells say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import expm1

from rich.console import Console
from rich.table import Table as RichTable

from evaluation.reproduction.claims import Finding
from evaluation.reproduction.findings import Measured, Study
from evaluation.reproduction.intervals import Interval
from evaluation.reproduction.measurements import Quantity
from evaluation.wording import number


@dataclass(frozen=True)
class Table:
    """Text in rows and columns."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self, console: Console) -> None:
        """Print it for people."""
        table = RichTable(title=self.title, title_justify="left")
        for place, heading in enumerate(self.headings):
            table.add_column(heading, overflow="fold", min_width=24 if place == 0 else None)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        """The same in a document."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def claims_beside_paper(title: str, findings: Iterable[Finding]) -> Table:
    """Every claim with the paper's number, the interval over seeds, that over prompts alone, and the word."""
    rows = []
    for finding in findings:
        claim = finding.claim
        against = f", at or against {finding.rival}" if len(claim.contrasts) > 1 else ""
        prompts = _told(finding.prompts, claim.unit)
        rows.append([claim.text, claim.place, claim.paper, estimated(finding) + against, prompts, finding.word])
    return Table(title, ["claim", "where", "paper", "here", "these models, over prompts", "word"], rows)


def beside_paper(
    study: Study,
    title: str,
    subjects: Sequence[str],
    columns: Mapping[str, tuple[str, float | None]],
    paper: Mapping[tuple[str, str], str],
) -> Table:
    """Measures and places, by heading, of every subject, and what the paper has of its measures."""
    rows = []
    for subject in subjects:
        cells = [
            _measured(study.measured.get(Quantity(subject, measure, () if place is None else (place,))))
            for measure, place in columns.values()
        ]
        theirs = [text for (who, _), text in paper.items() if who == subject]
        rows.append([subject, *cells, "; ".join(theirs)])
    return Table(title, ["", *columns, "paper"], rows)


def _measured(found: Measured | None) -> str:
    if found is None:
        return ""
    return told(found.interval, 3) if found.bare is None else number(found.bare, 3)


def estimated(finding: Finding) -> str:
    """The estimate and its interval in the claim's unit, or why it has none."""
    if finding.undefined_reason is None:
        return _told(finding.interval, finding.claim.unit)
    bare = Measured(finding.per_seed, finding.interval).bare
    if bare is None:
        return finding.undefined_reason
    value = number(bare, 3) if finding.claim.unit == "plain" else f"{number(100 * expm1(bare), 1)} %"
    return f"{value}, {finding.undefined_reason}"


def _told(interval: Interval | None, unit: str) -> str:
    if interval is None or unit == "plain":
        return told(interval, 3)
    return f"{told(Interval(*(100 * expm1(each) for each in astuple(interval))), 1)} %"


def told(interval: Interval | None, decimals: int) -> str:
    """The estimate and its interval."""
    if interval is None:
        return ""
    lower, upper = (number(end, decimals) for end in (interval.lower, interval.upper))
    return f"{number(interval.estimate, decimals)} [{lower}, {upper}]"

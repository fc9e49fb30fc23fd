"""Tables, once for the terminal and the document, and what their cells say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from evaluation.reproduction.claims import Finding
from evaluation.reproduction.intervals import Interval
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


def claims_table(title: str, findings: Iterable[Finding], names: Mapping[str, str]) -> Table:
    """Every claim with its interval and its word; ``names`` are of rivals as readers meet them."""
    rows = []
    for finding in findings:
        estimate = finding.undefined_reason or told(finding.interval, 3)
        against = f", against {names.get(finding.rival, finding.rival)}" if len(finding.claim.contrasts) > 1 else ""
        rows.append([finding.claim.text, finding.claim.place, estimate + against, finding.word])
    return Table(title, ["claim", "where", "estimate", "here"], rows)


def told(interval: Interval | None, decimals: int) -> str:
    """The estimate and its interval."""
    if interval is None:
        return ""
    lower, upper = (number(end, decimals) for end in (interval.lower, interval.upper))
    return f"{number(interval.estimate, decimals)} [{lower}, {upper}]"


def short(interval: Interval | None, decimals: int = 3) -> str:
    """The estimate and half the interval's width."""
    if interval is None:
        return ""
    return f"{number(interval.estimate, decimals)} ± {number(interval.upper - interval.estimate, decimals)}"

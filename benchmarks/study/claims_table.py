"""A study's claims as a table, and estimates as its other tables show them."""

from collections.abc import Iterable, Mapping

from evaluation.reproduction.claims import Finding
from evaluation.reproduction.intervals import Interval
from evaluation.reproduction.tables import Table, estimated
from evaluation.wording import number


def claims_table(title: str, findings: Iterable[Finding], names: Mapping[str, str]) -> Table:
    """Every claim with its interval and its word; ``names`` are of rivals as readers meet them."""
    rows = []
    for finding in findings:
        against = f", against {names.get(finding.rival, finding.rival)}" if len(finding.claim.contrasts) > 1 else ""
        rows.append([finding.claim.text, finding.claim.place, estimated(finding) + against, finding.word])
    return Table(title, ["claim", "where", "estimate", "here"], rows)


def short(interval: Interval | None, decimals: int = 3) -> str:
    """The estimate and half the interval's width."""
    if interval is None:
        return ""
    return f"{number(interval.estimate, decimals)} ± {number(interval.upper - interval.estimate, decimals)}"

"""Tables of scorers: by temperature for a stress test, by statistic for an audit, the trivial controls apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.scorers.controls import is_control
from evaluation.wording import label
from service.db.records import CorrelationRecord


@dataclass(frozen=True)
class ScorerRow:
    """One scorer's numbers, a cell for each column; None where nothing was computed."""

    scorer: str
    version: int | None
    cells: list[CorrelationRecord | None]


@dataclass(frozen=True)
class ScorerTable:
    """Scorers down, in the order of the run."""

    headings: list[str]
    learned: list[ScorerRow]
    controls: list[ScorerRow]


def scorers_by_temperature(correlations: Sequence[CorrelationRecord], statistic: str, oracle: str) -> ScorerTable:
    """One statistic against one oracle; all temperatures together come last."""
    rows = [row for row in _against(correlations, oracle) if row.statistic == statistic]
    known = {row.temperature for row in rows}
    columns: list[float | None] = [*sorted(t for t in known if t is not None), *([None] if None in known else [])]
    headings = ["all T" if t is None else f"T = {t:g}" for t in columns]
    cells = {(row.scorer, row.temperature): row for row in rows}
    return _table(rows, headings, {scorer: [cells.get((scorer, t)) for t in columns] for scorer, _ in cells})


def scorers_by_statistic(
    correlations: Sequence[CorrelationRecord], statistics: Sequence[str], oracle: str
) -> ScorerTable:
    """All responses together, a column for each of ``statistics``."""
    rows = [row for row in _against(correlations, oracle) if row.temperature is None and row.statistic in statistics]
    cells = {(row.scorer, row.statistic): row for row in rows}
    filled = {scorer: [cells.get((scorer, statistic)) for statistic in statistics] for scorer, _ in cells}
    return _table(rows, [label(each) for each in statistics], filled)


def _against(correlations: Sequence[CorrelationRecord], oracle: str) -> list[CorrelationRecord]:
    return [row for row in correlations if row.oracle == oracle and row.stratum == "all" and row.scorer != oracle]


def _table(
    rows: Sequence[CorrelationRecord], headings: list[str], cells: dict[str, list[CorrelationRecord | None]]
) -> ScorerTable:
    versions = {row.scorer: row.scorer_version for row in rows}
    table = [ScorerRow(name, version, cells[name]) for name, version in versions.items()]
    return ScorerTable(
        headings,
        learned=[row for row in table if not is_control(row.scorer)],
        controls=[row for row in table if is_control(row.scorer)],
    )

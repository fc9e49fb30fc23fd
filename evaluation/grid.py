"""Estimates laid out as people compare them: scorers down, temperatures or statistics across."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluation.scorers.controls import is_control
from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.statistics.estimate import Estimate
from evaluation.wording import CORRELATIONS, label


@dataclass(frozen=True)
class GridRow:
    """One scorer's estimates, a cell per column; None where nothing was computed."""

    name: str
    trivial: bool
    cells: list[Estimate | None]


@dataclass(frozen=True)
class Grid:
    """A table of estimates against one oracle, trivial controls last."""

    title: str
    headings: list[str]
    rows: list[GridRow]

    @property
    def notes(self) -> list[str]:
        """Why cells are empty: each reason once in a column, with the scorers it holds for."""
        notes = []
        for index, heading in enumerate(self.headings):
            reasons: dict[str, list[str]] = {}
            for row in self.rows:
                cell = row.cells[index]
                if cell is not None and cell.undefined_reason is not None:
                    reasons.setdefault(cell.undefined_reason, []).append(row.name)
            for reason, names in reasons.items():
                whom = "" if len(names) == len(self.rows) else f" ({', '.join(names)})"
                notes.append(f"{heading}: {reason}{whom}")
        return notes


def is_graded(estimates: Iterable[Estimate]) -> bool:
    """Whether there are estimates at temperatures, as of a stress test, or only of all responses."""
    return any(each.temperature is not None for each in estimates)


def scorers_by_temperature(estimates: Sequence[Estimate], oracle: str) -> Grid:
    """The most telling statistic: scorers down, temperatures across, all temperatures together last."""
    rows = [each for each in _of(estimates, oracle) if each.statistic == CORRELATIONS[0]]
    temperatures = sorted({each.temperature for each in rows if each.temperature is not None})
    columns: list[float | None] = [*temperatures, *([None] if any(each.temperature is None for each in rows) else [])]
    cells = {(each.scorer, each.temperature): each for each in rows}
    names = list(dict.fromkeys(each.scorer for each in rows))
    grid = [GridRow(name, is_control(name), [cells.get((name, column)) for column in columns]) for name in names]
    headings = ["all T" if column is None else f"T = {column:g}" for column in columns]
    return Grid(f"{label(CORRELATIONS[0])} with {oracle}", headings, _controls_last(grid))


def scorers_by_statistic(estimates: Sequence[Estimate], oracle: str) -> Grid:
    """All responses together: scorers down, statistics across."""
    rows = [each for each in _of(estimates, oracle) if each.temperature is None]
    cells = {(each.scorer, each.statistic): each for each in rows}
    names = list(dict.fromkeys(each.scorer for each in rows))
    grid = [GridRow(name, is_control(name), [cells.get((name, each)) for each in CORRELATIONS]) for name in names]
    return Grid(f"agreement with {oracle}", [label(each) for each in CORRELATIONS], _controls_last(grid))


def smallest_leads(estimates: Sequence[Estimate], oracle: str) -> Grid:
    """How far each scorer is ahead of the trivial control that comes closest, within prompts, in units of atanh r."""
    rows = [each for each in _of(estimates, oracle) if each.statistic.startswith(LEAD_WITHIN)]
    graded = is_graded(rows)
    smallest: dict[tuple[str, float | None], Estimate] = {}
    for each in rows:
        place = each.scorer, each.temperature
        if (each.temperature is not None) == graded and each.estimate is not None:
            smallest[place] = min(smallest.get(place, each), each, key=lambda lead: lead.estimate or 0.0)
    columns = sorted({temperature for _, temperature in smallest}, key=lambda temperature: temperature or 0.0)
    names = list(dict.fromkeys(name for name, _ in smallest))
    grid = [GridRow(name, False, [smallest.get((name, column)) for column in columns]) for name in names]
    headings = ["all responses" if column is None else f"T = {column:g}" for column in columns]
    return Grid("lead over the closest trivial control", headings, grid)


def _of(estimates: Iterable[Estimate], oracle: str) -> list[Estimate]:
    return [each for each in estimates if each.oracle == oracle and each.scorer != oracle and each.stratum == "all"]


def _controls_last(rows: Iterable[GridRow]) -> list[GridRow]:
    return sorted(rows, key=lambda row: row.trivial)

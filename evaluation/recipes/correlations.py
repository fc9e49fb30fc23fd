"""From the rows of a stress test to its correlations: per temperature, and over all temperatures."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.scorers.controls import family
from evaluation.scorers.scorer import Column
from evaluation.statistics.above_floor import above_floor
from evaluation.statistics.averages import averages
from evaluation.statistics.band import band
from evaluation.statistics.bootstrap import BootstrapSettings, Floats
from evaluation.statistics.correlation import correlate
from evaluation.statistics.estimate import Estimate
from trainer.files import write_atomically
from trainer.generation.sampled import Cell

CORRELATIONS_FILE = "correlations.jsonl"

_FEW_DRAWS = 20
"""For untrained networks, of whose intervals nothing is used."""

_DESCRIBES = frozenset({"length", "truncated"})
"""Controls whose mean tells what temperature did to the responses."""


class ScoreTable:
    """Scores of all responses by column, NaN where there is none."""

    def __init__(self, cells: Sequence[Cell], columns: Sequence[Column]) -> None:
        self._index = {cell: index for index, cell in enumerate(cells)}
        prompts = {prompt_id: index for index, prompt_id in enumerate(dict.fromkeys(cell.prompt_id for cell in cells))}
        self._prompt = np.array([prompts[cell.prompt_id] for cell in cells], dtype=np.int64)
        self._temperature = np.array([cell.temperature for cell in cells], dtype=np.float64)
        self._values: dict[Column, Floats] = {column: np.full(len(cells), np.nan) for column in columns}
        self._labels = _labels(columns)

    def fill(self, scores: Iterable[tuple[Cell, Column, float | None]]) -> None:
        """Put scores where they belong; a score of None stays missing."""
        for cell, column, score in scores:
            if score is not None:
                self._values[column][self._index[cell]] = score

    def missing(self) -> list[tuple[str, Column, int]]:
        """The columns that lack scores, as they are told, and how many each lacks; untrained networks as one."""
        found: dict[str, tuple[str, Column, int]] = {}
        for label, column in self._labelled():
            if count := int(np.isnan(self._values[column]).sum()):
                found.setdefault(family(label), (family(label), column, count))
        return list(found.values())

    def correlations(
        self, temperature: float | None, bootstrap: BootstrapSettings, seed: int
    ) -> list[tuple[Estimate, int | None]]:
        """Every statistic at one temperature, or over all for None; beside each the scorer's version.

        Also the means that say what happened to the responses: the oracles', of length and of truncation. Untrained
        networks are told by their band.
        """
        rows = np.full(len(self._prompt), True) if temperature is None else self._temperature == temperature
        scorers = {label: column for label, column in self._labelled() if column.role != "oracle"}
        untrained = {label: column for label, column in scorers.items() if family(label) != label}
        oracles = {label: self._values[column][rows] for label, column in self._labelled() if column.role == "oracle"}
        estimates = correlate(
            self._prompt[rows],
            {label: self._values[column][rows] for label, column in scorers.items() if label not in untrained},
            oracles,
            draws=bootstrap.draws,
            confidence=bootstrap.confidence,
            seed=seed,
            temperature=temperature,
        )
        members: dict[tuple[str, str, str], list[Estimate]] = {}
        for each in correlate(
            self._prompt[rows],
            {label: self._values[column][rows] for label, column in untrained.items()},
            oracles,
            draws=_FEW_DRAWS,
            confidence=bootstrap.confidence,
            seed=seed,
            temperature=temperature,
            controls=untrained,
        ):
            members.setdefault((family(each.scorer), each.oracle, each.statistic), []).append(each)
        versions = {family(label): column.version for label, column in scorers.items()}
        estimates += [band(found, name) for (name, _, _), found in members.items()]
        means = averages(
            self._prompt[rows],
            {
                label: self._values[column][rows]
                for label, column in self._labelled()
                if column.role == "oracle" or column.scorer in _DESCRIBES
            },
            draws=bootstrap.draws,
            confidence=bootstrap.confidence,
            seed=seed,
            temperature=temperature,
        )
        floors = {label: column.floor for label, column in self._labelled() if column.floor is not None}
        means += [above_floor(each, floors[each.scorer]) for each in means if each.scorer in floors]
        return [(each, versions[each.scorer]) for each in estimates] + [(each, None) for each in means]

    def _labelled(self) -> list[tuple[str, Column]]:
        return [(self._labels[column], column) for column in self._values]


def correlation_rows(
    table: ScoreTable, temperature: float | None, bootstrap: BootstrapSettings, seed: int, policy: str
) -> list[dict[str, Any]]:
    """The lines of ``correlations.jsonl`` for one temperature."""
    found = table.correlations(temperature, bootstrap, seed)
    return [correlation_row(estimate, version, policy) for estimate, version in found]


def correlation_row(estimate: Estimate, scorer_version: int | None, policy: str | None) -> dict[str, Any]:
    """A line of ``correlations.jsonl``."""
    return {**estimate.model_dump(mode="json"), "scorer_version": scorer_version, "policy": policy}


def write_correlations(rows: Iterable[dict[str, Any]], directory: Path) -> None:
    """Write a run's correlations, all or none. Raises StorageFailure."""
    write_atomically(directory / CORRELATIONS_FILE, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def _labels(columns: Sequence[Column]) -> dict[Column, str]:
    """Columns by distinct names: the scorer's own, with its version where two versions are compared."""
    same_name = Counter((column.scorer, column.role == "oracle") for column in columns)
    return {
        column: column.scorer
        if same_name[column.scorer, column.role == "oracle"] == 1
        else f"{column.scorer}@{column.version}"
        for column in columns
    }

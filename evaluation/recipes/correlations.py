"""From the rows of a stress test to the table that its statistics are taken of, and from those to files."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.prompt_marks import numbered
from evaluation.recipes.findings import Findings, Table, as_rows
from evaluation.run_files import COMPARISONS_FILE, CORRELATIONS_FILE, CURVES_FILE
from evaluation.scorers.controls import family
from evaluation.scorers.scorer import Column, StoredResponse
from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.degeneration import DEGENERATE, MEASURES, measure_text
from trainer.data.text import as_text
from trainer.files import write_atomically
from trainer.generation.sampled import Cell


class ScoreTable:
    """Scores of all responses by column, NaN where there is none."""

    def __init__(self, responses: Sequence[StoredResponse], columns: Sequence[Column]) -> None:
        self._responses = responses
        self._index = {each.cell: index for index, each in enumerate(responses)}
        self._values: dict[Column, Floats] = {column: np.full(len(responses), np.nan) for column in columns}
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

    def versions(self) -> dict[str, int | None]:
        """The version of each scorer that has one; untrained networks as one."""
        return {family(label): column.version for label, column in self._labelled() if column.role != "oracle"}

    def table(self) -> Table:
        """What the statistics are taken of."""
        cells = [each.cell for each in self._responses]
        prompts = numbered({each.cell.prompt_id: each.prompt for each in self._responses})
        labelled = self._labelled()
        return Table(
            prompt=np.array([prompts[cell.prompt_id] for cell in cells], dtype=np.int64),
            n_prompts=len(set(prompts.values())),
            temperature=np.array([cell.temperature for cell in cells], dtype=np.float64),
            scorers={label: self._values[column] for label, column in labelled if _is_told_alone(label, column)},
            untrained={label: self._values[column] for label, column in labelled if family(label) != label},
            oracles={label: self._values[column] for label, column in labelled if column.role == "oracle"},
            floors={label: column.floor for label, column in labelled if column.floor is not None},
            length=_lengths(self._responses),
            truncated=np.array([_truncated(each) for each in self._responses], dtype=np.float64),
            texts=_texts(self._responses),
        )

    def _labelled(self) -> list[tuple[str, Column]]:
        return [(self._labels[column], column) for column in self._values]


def write_findings(found: Findings, versions: Mapping[str, int | None], policy: str | None, directory: Path) -> None:
    """Write a run's ``correlations.jsonl``, ``curves.jsonl`` and ``comparisons.jsonl``. Raises StorageFailure."""
    files = (CORRELATIONS_FILE, CURVES_FILE, COMPARISONS_FILE)
    for name, rows in zip(files, as_rows(found, versions, policy), strict=True):
        write_rows(rows, directory / name)


def write_rows(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """All lines of a file, or none. Raises StorageFailure."""
    write_atomically(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def _is_told_alone(label: str, column: Column) -> bool:
    return column.role != "oracle" and family(label) == label


def _lengths(responses: Sequence[StoredResponse]) -> Floats:
    """log(1 + tokens), or log(1 + characters) of all where a server did not count some one's tokens."""
    tokens = [each.tokens for each in responses if each.tokens is not None]
    counts = tokens if len(tokens) == len(responses) else [len(each.response) for each in responses]
    return np.log1p(np.array(counts, dtype=np.float64))


def _truncated(response: StoredResponse) -> float:
    return math.nan if response.finish_reason is None else float(response.finish_reason == "length")


def _texts(responses: Sequence[StoredResponse]) -> dict[str, Floats]:
    measured = [measure_text(as_text(each.prompt), each.response) for each in responses]
    return {name: np.array([each[name] for each in measured], dtype=np.float64) for name in (*MEASURES, DEGENERATE)}


def _labels(columns: Sequence[Column]) -> dict[Column, str]:
    """Columns by distinct names: the scorer's own, with its version where two versions are compared."""
    same_name = Counter((column.scorer, column.role == "oracle") for column in columns)
    return {
        column: column.scorer
        if same_name[column.scorer, column.role == "oracle"] == 1
        else f"{column.scorer}@{column.version}"
        for column in columns
    }

"""The contract of benchmark suites: how their rows are read, and what their numbers are made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.composites import Composite
from trainer.data.tables import Row
from trainer.data.text import Prompt

STRICT = "accuracy"
"""A tie with a rejected response is wrong."""

SHARED = "accuracy_ties_shared"
"""A tie of k best responses is right by 1/k."""


@dataclass(frozen=True)
class Item:
    """One row of a benchmark: a prompt with responses that are right and responses that are wrong."""

    prompt: Prompt
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    id: str
    cluster: str
    """Items with the same are drawn together; usually those of one prompt."""


Scores = Sequence[tuple[Floats, Floats]]
"""For each item the scores of its chosen and of its rejected responses, NaN where there is none."""


class Suite(ABC):
    """Subclasses name themselves and know their published weights."""

    name: str

    @abstractmethod
    def read(self, row: Row, number: int) -> Item:
        """The item of a row, the ``number``-th. Raises InvalidInput naming row, field and problem."""

    @abstractmethod
    def composites(self, items: Sequence[Item], scores: Scores) -> list[Composite]:
        """What the suite reports: subsets first, then sections, then the whole as stratum ``all``."""


def clusters(items: Sequence[Item]) -> Ints:
    """Numbers (items,) equal where clusters are."""
    return np.unique([each.cluster for each in items], return_inverse=True)[1]


def outcomes(scores: Scores) -> tuple[Floats, Floats]:
    """Whether the first chosen response has the highest score of its item, by both tie rules (items,).

    NaN where a score is missing.
    """
    strict, shared = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    for index, (chosen, rejected) in enumerate(scores):
        everything = np.concatenate([chosen[:1], rejected])
        if np.isfinite(everything).all():
            best = everything == everything.max()
            strict[index] = float(best[0] and best.sum() == 1)
            shared[index] = best[0] / best.sum()
    return strict, shared


def texts(row: Row, field: str) -> tuple[str, ...]:
    """A field with one text or several. Raises InvalidInput."""
    value = row.content.get(field)
    if value is None:
        raise row.missing(field)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
        raise row.error(field, "expected a text or a list of texts")
    return tuple(listed)


def text(row: Row, field: str) -> str:
    """A field with one text. Raises InvalidInput."""
    found = texts(row, field)
    if len(found) > 1:
        raise row.error(field, f"{len(found)} texts, where one is expected")
    return found[0]


def word(row: Row, field: str, default: str | None = None) -> str:
    """A field with a text or a number, as text. Raises InvalidInput."""
    value = row.content.get(field, default)
    if value is None:
        raise row.missing(field)
    if not isinstance(value, str | int):
        raise row.error(field, "expected a text")
    return str(value)

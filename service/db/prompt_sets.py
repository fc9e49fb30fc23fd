"""The sets of prompts that runs stand on: equal ones have one digest, and what is in them is read where sets differ."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from evaluation.statistics.combining import Spread
from evaluation.statistics.shared_prompts import Marks, Standing, distinct_prompts, error_variance
from service.db.tables import RunPrompts

Moved = tuple[str, float | None, float | None, float | None]
"""A run, and its sums of w s, of w (y - lower end) and of w (upper end - y)."""

_AT_ONCE = 500
"""SQLite takes some thousand parameters."""


def add_prompts(session: Session, run: str, marks: Iterable[str]) -> None:
    """Store which prompts a run stands on; nothing where none are known."""
    row = row_of(run, marks)
    if row["marks"]:
        session.merge(RunPrompts(**row))
        session.flush()


def row_of(run: str, marks: Iterable[str]) -> dict[str, Any]:
    """A row of ``run_prompts``."""
    distinct = sorted(set(marks))
    text = "".join(distinct)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"run": run, "digest": digest, "marks": text}


class PromptSets:
    """Which prompts runs stand on, each set read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._digests: dict[str, str | None] = {}
        self._marks: dict[str, Marks] = {}

    def read(self, runs: Iterable[str]) -> None:
        """Look up what is not known yet of these runs."""
        missing = set(runs) - self._digests.keys()
        for part in _parts(missing):
            known = select(RunPrompts.run, RunPrompts.digest).where(RunPrompts.run.in_(part))
            self._digests |= dict.fromkeys(part)
            self._digests |= {row.run: row.digest for row in self._session.execute(known)}
        digests = {digest for run in missing if (digest := self._digests[run]) is not None}
        for part in _parts(digests - self._marks.keys()):
            one_of_each = (
                select(func.min(RunPrompts.run)).where(RunPrompts.digest.in_(part)).group_by(RunPrompts.digest)
            )
            query = select(RunPrompts.digest, RunPrompts.marks).where(RunPrompts.run.in_(one_of_each))
            for digest, marks in self._session.execute(query):
                self._marks[digest] = np.frombuffer(bytes.fromhex(marks), dtype=np.uint64)

    def digest(self, run: str) -> str | None:
        """Equal for equal sets; None where nobody knows the run's prompts. It must have been read."""
        return self._digests[run]

    def marks(self, digest: str | None) -> Marks | None:
        """What is in a set; None where nobody knows."""
        return None if digest is None else self._marks.get(digest)


def _parts(names: Iterable[str]) -> Iterator[Sequence[str]]:
    ordered = iter(sorted(names))
    while part := list(islice(ordered, _AT_ONCE)):
        yield part


@dataclass(frozen=True)
class Together:
    """What a group's runs stand on, taken together."""

    spread: Spread
    distinct: int | None
    """How many different prompts; None where some are not known."""
    shared: bool | None
    """Whether two runs have a prompt in common; None where nobody knows."""


def together(listed: Sequence[Moved], sets: PromptSets, *, of_parts: bool = False) -> Together:
    """Of runs, each with its sums of w times what ``combining.Spread`` is of; ``of_parts`` as in ``error_variance``."""
    sets.read(run for run, *_ in listed)
    errors: dict[str | None, list[list[float]]] = {}
    for run, *moved in listed:
        errors.setdefault(sets.digest(run), []).append([each or 0.0 for each in moved])
    standings = [(np.sum(each, axis=0), sets.marks(digest)) for digest, each in errors.items()]
    spread = (
        error_variance([Standing(float(moved[place]), marks) for moved, marks in standings], of_parts=of_parts)
        for place in range(3)
    )
    known = {digest: marks for digest in errors if (marks := sets.marks(digest)) is not None}
    distinct = distinct_prompts(list(known.values()))
    shared: bool | None = sum(len(errors[digest]) * len(marks) for digest, marks in known.items()) > distinct
    complete = len(known) == len(errors)
    if not shared and not complete and len(listed) > 1:
        shared = None
    return Together(Spread(*spread), distinct if complete else None, shared)

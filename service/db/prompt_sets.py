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
from evaluation.statistics.shared_prompts import Marks, Standing, distinct_prompts, error_variances
from service.db.tables import RunPrompts

Moved = tuple[str, float | None, float | None, float | None]
"""Of a run the digest of its prompts, None where nobody knows them, and its sums of w s, of w (y - lower end) and of
w (upper end - y)."""

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
    """What is in sets of prompts, each read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._marks: dict[str, Marks] = {}

    def read(self, digests: Iterable[str | None]) -> None:
        """Look up which of these are not known yet."""
        missing = {digest for digest in digests if digest is not None} - self._marks.keys()
        for part in _parts(missing) if missing else ():
            one_of_each = (
                select(func.min(RunPrompts.run)).where(RunPrompts.digest.in_(part)).group_by(RunPrompts.digest)
            )
            query = select(RunPrompts.digest, RunPrompts.marks).where(RunPrompts.run.in_(one_of_each))
            for digest, marks in self._session.execute(query):
                self._marks[digest] = np.frombuffer(bytes.fromhex(marks), dtype=np.uint64)

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
    """Of runs, each with its prompts and its sums of w times what ``combining.Spread`` is of; ``of_parts`` as in
    ``error_variances``."""
    sets.read(digest for digest, *_ in listed)
    errors: dict[str | None, list[list[float]]] = {}
    for digest, *moved in listed:
        errors.setdefault(digest, []).append([each or 0.0 for each in moved])
    standings = [
        Standing([sum(each) for each in zip(*moved, strict=True)], sets.marks(digest))
        for digest, moved in errors.items()
    ]
    spread = error_variances(standings, of_parts=of_parts) or (0.0, 0.0, 0.0)
    known = {digest: marks for digest in errors if (marks := sets.marks(digest)) is not None}
    distinct = distinct_prompts(list(known.values()))
    shared: bool | None = sum(len(errors[digest]) * len(marks) for digest, marks in known.items()) > distinct
    complete = len(known) == len(errors)
    if not shared and not complete and len(listed) > 1:
        shared = None
    return Together(Spread(*spread), distinct if complete else None, shared)

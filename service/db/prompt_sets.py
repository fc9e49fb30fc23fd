"""The sets of prompts that runs stand on: equal ones have one digest, and what is in them is read where sets differ."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from evaluation.statistics.combining import Spread
from evaluation.statistics.shared_prompts import Joint, Marks, Standing, joint_errors
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


class Together(NamedTuple):
    """What a group's runs stand on, taken together."""

    spread: Spread
    distinct: int | None
    """How many different prompts; None where some are not known."""
    shared: bool | None
    """Whether two runs have a prompt in common; None where nobody knows."""


def together(groups: Sequence[Sequence[Moved]], sets: PromptSets, of_parts: Sequence[bool]) -> list[Together]:
    """Of groups of runs; ``of_parts`` as in ``joint_errors``."""
    sets.read(digest for group in groups for digest, *_ in group)
    by_set = [_by_set(group) for group in groups]
    standings = [
        [Standing(errors, sets.marks(digest)) for digest, (_, *errors) in standing.items()] for standing in by_set
    ]
    return [_told(*each, sets) for each in zip(by_set, joint_errors(standings, of_parts), strict=True)]


def _by_set(group: Sequence[Moved]) -> dict[str | None, list[float]]:
    """By digest how many runs stand on a set of prompts, and the sums of what moves with it."""
    found: dict[str | None, list[float]] = {}
    for digest, *moved in group:
        sums = found.setdefault(digest, [0, 0.0, 0.0, 0.0])
        sums[0] += 1
        for place, each in enumerate(moved, start=1):
            sums[place] += each or 0.0
    return found


def _told(by_set: Mapping[str | None, Sequence[float]], joint: Joint, sets: PromptSets) -> Together:
    known = {digest: len(marks) for digest in by_set if (marks := sets.marks(digest)) is not None}
    shared: bool | None = sum(by_set[digest][0] * n_prompts for digest, n_prompts in known.items()) > joint.n_prompts
    complete = len(known) == len(by_set)
    if not shared and not complete and sum(n_runs for n_runs, *_ in by_set.values()) > 1:
        shared = None
    return Together(Spread(*(joint.variances or (0.0, 0.0, 0.0))), joint.n_prompts if complete else None, shared)

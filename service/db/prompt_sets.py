"""The sets of prompts that runs stand on: equal ones have one digest, and what is in them is read where sets differ."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from evaluation.statistics.combining import Spread
from evaluation.statistics.shared_prompts import Joint, Marks, Standing, joint_errors
from service.db.tables import RunPrompts


class OnSet(NamedTuple):
    """Runs of a group that stand on one set of prompts."""

    digest: str | None
    """None where nobody knows their prompts."""
    n_runs: int
    errors: Sequence[float]
    """Over their rows the sums of w s, of w (y - lower end) and of w (upper end - y)."""


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


def together(groups: Sequence[Sequence[OnSet]], sets: PromptSets, of_parts: Sequence[bool]) -> list[Together]:
    """Of groups of runs, each digest once; ``of_parts`` as in ``joint_errors``."""
    sets.read(each.digest for group in groups for each in group)
    standings = [[Standing(each.errors, sets.marks(each.digest)) for each in group] for group in groups]
    return [_told(*each, sets) for each in zip(groups, joint_errors(standings, of_parts), strict=True)]


def _told(group: Sequence[OnSet], joint: Joint, sets: PromptSets) -> Together:
    known = [(each.n_runs, len(marks)) for each in group if (marks := sets.marks(each.digest)) is not None]
    shared: bool | None = sum(n_runs * n_prompts for n_runs, n_prompts in known) > joint.n_prompts
    complete = len(known) == len(group)
    if not shared and not complete and sum(each.n_runs for each in group) > 1:
        shared = None
    return Together(Spread(*(joint.variances or (0.0, 0.0, 0.0))), joint.n_prompts if complete else None, shared)

"""The sets of prompts that runs stand on: equal ones have one digest, and what is in them is read where sets differ."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from evaluation.statistics.combining import Spread
from evaluation.statistics.shared_prompts import Marks, Mask, Numbers, Places, Standings, joint_errors
from service.db.tables import RunPrompts


class OnSets(NamedTuple):
    """Of groups the runs that stand on each set of prompts."""

    group: Places
    """(standings,)"""
    digest: Places
    """(standings,) the place of the set's among all digests."""
    n_runs: Places
    """(standings,)"""
    errors: Numbers
    """(standings, 3) over their rows the sums of w s, of w (y - lower end) and of w (upper end - y)."""


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


def digests_of_runs(session: Session) -> dict[str, str]:
    """Of the runs whose prompts are known, at this moment: they may be forgotten."""
    return {row.run: row.digest for row in session.execute(select(RunPrompts.run, RunPrompts.digest))}


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


def together(on: OnSets, digests: Sequence[str | None], sets: PromptSets, of_parts: Mask) -> list[Together]:
    """Of each group; a digest is None where nobody knows the prompts; ``of_parts`` as in ``joint_errors``."""
    used, place = np.unique(on.digest, return_inverse=True)
    names = [digests[each] for each in used.tolist()]
    sets.read(names)
    marks = [sets.marks(name) for name in names]
    joint = joint_errors(Standings(on.group, place, on.errors), marks, of_parts)

    n_groups = len(of_parts)
    known = np.array([each is not None for each in marks], bool)[place]
    sizes = np.array([0 if each is None else len(each) for each in marks], np.intp)[place]
    shared = np.bincount(on.group, on.n_runs * sizes, n_groups) > joint.n_prompts
    complete = np.bincount(on.group[~known], minlength=n_groups) == 0
    undecided = ~shared & ~complete & (np.bincount(on.group, on.n_runs, n_groups) > 1)
    told = (joint.variances, joint.n_prompts, complete, shared, undecided)
    return [
        Together(Spread(*spread), n_prompts if whole else None, None if unknown else common)
        for spread, n_prompts, whole, common, unknown in zip(*(each.tolist() for each in told), strict=True)
    ]

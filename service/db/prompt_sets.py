"""The sets of prompts that runs stand on: equal ones have one digest, and what is in them is read where sets differ."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from evaluation.statistics.shared_prompts import Marks, Standing, distinct_prompts, error_variance
from service.db.tables import RunPrompts

_AT_ONCE = 500
"""SQLite takes some thousand parameters."""


def add_prompts(session: Session, run: str, marks: Iterable[str]) -> None:
    """Store which prompts a run stands on; nothing where none are known."""
    row = row_of(run, marks)
    if row["marks"]:
        session.add(RunPrompts(**row))
        session.flush()


def row_of(run: str, marks: Iterable[str]) -> dict[str, Any]:
    """A row of ``run_prompts``."""
    distinct = sorted(set(marks))
    text = "".join(distinct)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"run": run, "digest": digest, "marks": text}


class PromptSets:
    """What is in the sets that were asked for, each read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str | None, Marks] = {}

    def of(self, digests: Iterable[str | None]) -> Mapping[str | None, Marks]:
        """The prompts of each set. None, runs whose prompts are not known, has none."""
        missing = sorted(digest for digest in set(digests) - self._known.keys() if digest is not None)
        for start in range(0, len(missing), _AT_ONCE):
            asked = RunPrompts.digest.in_(missing[start : start + _AT_ONCE])
            one_of_each = select(func.min(RunPrompts.run)).where(asked).group_by(RunPrompts.digest)
            query = select(RunPrompts.digest, RunPrompts.marks).where(RunPrompts.run.in_(one_of_each))
            for digest, marks in self._session.execute(query):
                self._known[digest] = np.frombuffer(bytes.fromhex(marks), dtype=np.uint64)
        return self._known


@dataclass(frozen=True)
class Together:
    """What a group's runs stand on, taken together."""

    variance: float
    """As ``shared_prompts.error_variance`` has it."""
    distinct: int | None
    """How many different prompts; None where some are not known."""
    shared: bool | None
    """Whether two runs have a prompt in common; None where nobody knows."""


def together(listed: Sequence[tuple[str | None, int, float | None]], sets: PromptSets) -> Together:
    """Of each set of prompts its digest, None where it is not known, how many runs stand on it, and sum of w s."""
    marks = sets.of(digest for digest, _, _ in listed)
    standings = [Standing(moved or 0.0, marks.get(digest)) for digest, _, moved in listed]
    known = [(n_runs, marks[digest]) for digest, n_runs, _ in listed if digest in marks]
    distinct = distinct_prompts([prompts for _, prompts in known])
    shared: bool | None = sum(n_runs * len(prompts) for n_runs, prompts in known) > distinct
    complete = len(known) == len(listed)
    if not shared and not complete and sum(n_runs for _, n_runs, _ in listed) > 1:
        shared = None
    return Together(error_variance(standings), distinct if complete else None, shared)

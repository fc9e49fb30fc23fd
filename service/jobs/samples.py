"""Audits of what was served: jobs known by their idempotency keys, which say of which time their texts are."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.tables import Job
from service.settings import Settings

SAMPLES = "monitoring"
"""Directory of the files that audits of served scores read, and the beginning of those jobs' idempotency keys."""

MISSED_PERIODS = 2
"""Whole periods without an audit, after which trust is stale: one may be late, or have had too little to judge."""

_KEY = re.compile(rf"{SAMPLES}:(.+):(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d)/([0-9.e+-]+)s")


@dataclass(frozen=True)
class SampleAudit:
    """One audit of one scorer's sample."""

    scorer: str
    start: datetime
    """Of the period in which it is due. It judges what was served in the period before."""
    period: timedelta

    @property
    def key(self) -> str:
        """The same on every server, so that one job is made."""
        return f"{SAMPLES}:{self.scorer}:{self.start:%Y-%m-%dT%H:%M:%S}/{self.period.total_seconds():g}s"

    @classmethod
    def read(cls, key: str) -> "SampleAudit | None":
        """The audit with this ``key``; None for another job's."""
        if (found := _KEY.fullmatch(key)) is None:
            return None
        scorer, start, seconds = found.groups()
        return cls(scorer, datetime.fromisoformat(start).replace(tzinfo=UTC), timedelta(seconds=float(seconds)))

    @property
    def texts_since(self) -> datetime:
        """The oldest that it can have judged."""
        return self.start - self.period

    @property
    def fresh_until(self) -> datetime:
        """When the next two audits are both a whole period late, and what this one found holds no more."""
        return self.start + (1 + MISSED_PERIODS) * self.period


def audits_begin_with(scorer: str) -> str:
    """What the keys of all audits of ``scorer`` begin with, and of no other."""
    return f"{SAMPLES}:{scorer}:"


@dataclass(frozen=True)
class QueuedAudit:
    """An audit as its job has it."""

    job: str
    status: str
    path: str
    """Of the file with the texts."""
    audit: SampleAudit


def sample_audits(session: Session) -> list[QueuedAudit]:
    """Every audit of a sample that was queued, whatever became of it."""
    query = select(Job.id, Job.status, Job.recipe, Job.idempotency_key).where(Job.kind == "audit")
    rows = session.execute(query.where(Job.idempotency_key.startswith(f"{SAMPLES}:")))
    read = ((row, SampleAudit.read(str(row.idempotency_key))) for row in rows)
    return [QueuedAudit(row.id, row.status, str(row.recipe.get("path")), audit) for row, audit in read if audit]


def sample_files(settings: Settings) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file of texts that audits read, with what is known of it; servers that share them delete them meanwhile."""
    for file in sorted((settings.runs_dir.absolute() / SAMPLES).glob("*.jsonl")):
        with suppress(FileNotFoundError):
            yield file, file.stat()

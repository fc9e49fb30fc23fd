"""Delete what somebody sent from the sample, wherever its texts are: rows, files, and what audits made of them.

A file that holds a text to be forgotten is emptied, for its lines are numbered; the audit that reads it is cancelled
unless it has ended, and its run directory goes with the file, at once or in the hourly round after its end.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.records import TERMINAL
from service.db.served import holds_text, matching_scores
from service.db.session import writing
from service.db.tables import Job, RunPrompts, ServedScore
from service.jobs.queue import cancel
from service.jobs.retention import forget_samples
from service.jobs.samples import sample_audits, sample_files
from service.monitoring.sampling import prompt_digest
from service.score_schema import PromptText
from service.settings import Settings
from trainer.errors import InvalidInput
from trainer.files import read_jsonl
from trainer.recipe import Model

_AT_ONCE = 500


class Forget(Model):
    """What is to be forgotten: one of these."""

    prompt: PromptText | None = None
    """Everything about this very prompt, also where only hashes are kept."""
    prompt_hash: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    """The same by its hash, as ``served_scores.prompt_digest`` has it."""
    containing: str | None = Field(None, min_length=1, max_length=10_000)
    """Whatever has this in its prompt or response, in capitals or not."""
    before: datetime | None = None
    """Whatever was scored before this time; UTC where it names no zone."""
    dry_run: bool = False
    """Count, and delete nothing."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(each is not None for each in (self.prompt, self.prompt_hash, self.containing, self.before)) != 1:
            raise ValueError("give one of prompt, prompt_hash, containing and before")
        return self

    @field_validator("before")
    @classmethod
    def _in_utc(cls, before: datetime | None) -> datetime | None:
        return before.replace(tzinfo=UTC) if before is not None and before.tzinfo is None else before

    @property
    def digest(self) -> str | None:
        """Of the prompt, however it was named."""
        return self.prompt_hash if self.prompt is None else prompt_digest(self.prompt)


class Forgotten(Model):
    """What is gone, or would go."""

    scores: int
    """Rows of the sample."""
    audits: list[str]
    """Jobs whose files and run directories held such texts. Their correlations stay."""


def forget_texts(make_session: sessionmaker[Session], settings: Settings, asked: Forget) -> Forgotten:
    """Forget it. What is being scored at this moment, and the file of an audit that is being queued from rows read
    before they were deleted, may come after: ask again a few seconds later.
    """
    with make_session() as session:
        scores = list(matching_scores(session, asked.digest, asked.containing, asked.before))
    for start in range(0, 0 if asked.dry_run else len(scores), _AT_ONCE):
        with writing(make_session) as session:
            session.execute(delete(ServedScore).where(ServedScore.id.in_(scores[start : start + _AT_ONCE])))
    files = [(file, found.st_mtime) for file, found in sample_files(settings) if _holds(file, found.st_mtime, asked)]
    paths = {str(file) for file, _ in files}
    with make_session() as session:
        audits = sorted(each.job for each in sample_audits(session) if each.path in paths)
    if asked.dry_run:
        return Forgotten(scores=len(scores), audits=audits)
    for job in audits:  # before their files are emptied, by which whoever asks again finds them
        with writing(make_session) as session:
            session.execute(delete(RunPrompts).where(RunPrompts.run == job))
            if session.scalar(select(Job.status).where(Job.id == job).with_for_update()) not in TERMINAL:
                cancel(session, job)
    for file, time in files:
        with suppress(FileNotFoundError):  # another server was first
            os.truncate(file, 0)
            os.utime(file, (time, time))
    forget_samples(make_session, settings)
    return Forgotten(scores=len(scores), audits=audits)


def _holds(file: Path, time: float, asked: Forget) -> bool:
    """Whether a text that is to be forgotten is, or may be, in it: its time is that of the oldest it can have."""
    if asked.before is not None:
        return time < asked.before.timestamp()
    try:
        return any(_is_meant(row, asked) for _, row in read_jsonl(file))
    except (FileNotFoundError, InvalidInput):
        if file.exists():
            raise
        return False


def _is_meant(row: dict[str, Any], asked: Forget) -> bool:
    if asked.containing is not None:
        return holds_text(asked.containing, row["prompt"], row["response"])
    return bool(row["prompt_id"] == asked.digest)

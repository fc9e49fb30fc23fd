"""Forgetting: run directories and rows of jobs that ended long ago. Artifacts are never touched.

A directory is moved out of sight in the transaction that checks that the job may go. Afterwards, for it may take long,
what object storage has of the run is deleted, and then the directory: what is killed in between, or fails, is finished
by the next round.
"""

import os
import re
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from service.db.clock import now
from service.db.deleting import delete_conclusions, next_deletion
from service.db.drifts import forget_drifts
from service.db.monitored import forget_states
from service.db.records import TERMINAL
from service.db.served import forget_served, sampled_scorers
from service.db.session import writing
from service.db.tables import Job, JobEvent
from service.jobs import run_lock
from service.jobs.samples import sample_audits, sample_files
from service.settings import Settings
from trainer.object_storage import Bucket
from trainer.run_mirror import forget_run, stored_runs
from trainer.staging import last_touched

_DELETED = ".deleted-"
LEFT_ALONE_SECONDS = 3600.0
"""For which nothing may have touched what goes because nobody knows of it."""

_AT_ONCE = 500
_FORGOTTEN = "the texts that it judged are forgotten, and so is what it said of them"

_JOB = re.compile(r"(job|run)_[0-9a-f]{32}")


def forget(make_session: sessionmaker[Session], settings: Settings) -> int:
    """Delete what the settings no longer keep; return how many jobs lost their directory or their rows."""
    count = 0
    bucket = None if settings.storage_url is None else Bucket(settings.storage_url)
    with make_session() as session:
        moment = now(session)
    if settings.keep_jobs_days is not None:
        while _forget_job(make_session, settings.runs_dir, bucket, moment - timedelta(days=settings.keep_jobs_days)):
            count += 1
        count += _forget_unknown(make_session, settings.runs_dir)
        with writing(make_session) as session:
            forget_drifts(session, moment - timedelta(days=settings.keep_jobs_days))
    if settings.keep_run_directories_days is not None:
        before = moment - timedelta(days=settings.keep_run_directories_days)
        count += _forget_directories(make_session, settings.runs_dir, bucket, before)
    forget_samples(make_session, settings)
    return count


def forget_samples(make_session: sessionmaker[Session], settings: Settings) -> None:
    """Served scores that are too old, and the files and run directories that audits made of their texts, or whose file
    was emptied because somebody wants it forgotten; not what they measured.
    """
    bucket = None if settings.storage_url is None else Bucket(settings.storage_url)
    with make_session() as session:
        moment = now(session)
    before = moment - timedelta(days=settings.monitor_keep_days)
    deleted = True
    while deleted:
        with writing(make_session) as session:
            deleted = forget_served(session, before) > 0
    with writing(make_session) as session:  # nobody else looks where the share is 0 by now
        forget_states(session, [scorer for scorer, _ in sampled_scorers(session, before)], moment)
    with make_session() as session:
        audits = [each for each in sample_audits(session) if each.status in TERMINAL]
    files = list(sample_files(settings))
    emptied = {str(file) for file, found in files if found.st_size == 0}
    old = {each.job for each in audits if each.audit.texts_since < before or each.path in emptied}
    for file, found in files:
        if found.st_mtime < before.timestamp():
            file.unlink(missing_ok=True)
    if old:
        _forget_quotations(make_session, sorted(old))
        _forget_directories(make_session, settings.runs_dir, bucket, moment, frozenset(old))
    _empty(make_session, settings.runs_dir, bucket)


def _forget_quotations(make_session: sessionmaker[Session], audits: Sequence[str]) -> None:
    """What was logged of audits: an error may quote the text that it is about.

    Of one that is resumed, events are numbered from 1 again, and seen from there.
    """
    said = and_(Job.error_detail.is_not(None), Job.error_detail != _FORGOTTEN)
    left = or_(said, exists().where(JobEvent.job == Job.id))
    for start in range(0, len(audits), _AT_ONCE):
        quoting = select(Job.id).where(Job.id.in_(audits[start : start + _AT_ONCE]), Job.status.in_(TERMINAL), left)
        with make_session() as session:
            if session.scalar(quoting.limit(1)) is None:
                continue
        with writing(make_session) as session:
            ended = session.scalars(quoting.with_for_update()).all()  # not resumed meanwhile
            session.execute(delete(JobEvent).where(JobEvent.job.in_(ended)))
            session.execute(update(Job).where(Job.id.in_(ended)).values(events_seen=0))
            session.execute(update(Job).where(Job.id.in_(ended), said).values(error_detail=_FORGOTTEN))


def _forget_job(make_session: sessionmaker[Session], runs_dir: Path, bucket: Bucket | None, before: datetime) -> bool:
    """One job with all that hangs below it; False where none may go.

    While it goes the job is ``lost``, so that nobody sees a part. What was concluded goes at once, for a job that is
    resumed concludes anew; then what is large, in pieces.
    """
    ended = select(Job).where(Job.status.in_(TERMINAL), Job.finished_at < before).order_by(Job.finished_at)
    with writing(make_session) as session:
        job = session.scalars(ended.limit(1).with_for_update(skip_locked=True)).one_or_none()
        if job is None:
            return False
        _hide(runs_dir / job.id, stored=bucket is not None)
        job.status, job.error_code, job.error_detail = "lost", "forgotten", "it ended long ago and is being deleted"
        delete_conclusions(session, job.id)
    over = False
    while not over:
        with writing(make_session) as session:
            if session.scalars(ended.where(Job.id == job.id).with_for_update()).one_or_none() is None:
                return True  # deleted by another server, or resumed, since
            deletion = next_deletion(session, job.id, reported=True)
            over = deletion is None
            session.execute(delete(Job).where(Job.id == job.id) if deletion is None else deletion)
    return True


def _forget_directories(
    make_session: sessionmaker[Session],
    runs_dir: Path,
    bucket: Bucket | None,
    before: datetime,
    only: frozenset[str] | None = None,
) -> int:
    """Of every job that ended before then, or ``only`` of these."""
    here = {path.name for path in runs_dir.iterdir() if path.is_dir()} if runs_dir.is_dir() else set()
    count = 0
    stored = set() if bucket is None else stored_runs(bucket)
    for name in sorted(here | stored if only is None else (here | stored) & only):
        ended = select(Job.id).where(Job.id == name, Job.status.in_(TERMINAL), Job.finished_at < before)
        with make_session() as session:
            if session.scalar(ended) is None:
                continue
        with writing(make_session) as session:
            if session.scalar(ended.with_for_update()) is not None:  # not resumed meanwhile
                _hide(runs_dir / name, stored=bucket is not None)
                count += 1
    return count


def _forget_unknown(make_session: sessionmaker[Session], runs_dir: Path) -> int:
    """Directories of jobs that another server, with a disk of its own, has forgotten."""
    named = [path for path in runs_dir.iterdir() if _JOB.fullmatch(path.name)] if runs_dir.is_dir() else []
    with make_session() as session:
        unknown = [path for path in named if session.scalar(select(Job.id).where(Job.id == path.name)) is None]
    count = 0
    for directory in unknown:
        if time.time() - last_touched(directory) >= LEFT_ALONE_SECONDS and not run_lock.is_held(directory):
            _hide(directory)
            count += 1
    return count


def _hide(directory: Path, *, stored: bool = False) -> None:
    """Mark a run for ``_empty``: by its directory or, where something may be ``stored`` of it, by one made for that."""
    grave = directory.with_name(f"{_DELETED}{directory.name}")
    if directory.is_dir():
        shutil.rmtree(grave, ignore_errors=True)
        directory.rename(grave)
    elif stored:
        grave.mkdir(parents=True, exist_ok=True)
    else:
        return
    os.utime(grave)


def _empty(make_session: sessionmaker[Session], runs_dir: Path, bucket: Bucket | None) -> None:
    """Delete what is marked, unless the job was resumed since: what is stored then is of its new life."""
    for grave in list(runs_dir.glob(f"{_DELETED}*")):
        if bucket is not None:
            marked = datetime.fromtimestamp(grave.stat().st_mtime, UTC)
            name = grave.name.removeprefix(_DELETED)
            forget_run(bucket, name, partial(_is_over_since, make_session, name, marked))
        shutil.rmtree(grave, ignore_errors=True)


def _is_over_since(make_session: sessionmaker[Session], job_id: str, time: datetime) -> bool:
    """Whether the job is gone, or ended before ``time`` and was not resumed."""
    with make_session() as session:
        job = session.execute(select(Job.status, Job.finished_at).where(Job.id == job_id)).one_or_none()
    return job is None or (job.status in TERMINAL and job.finished_at < time)

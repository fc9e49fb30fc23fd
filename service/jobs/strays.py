"""Processes that work for a job which is no longer carried out in them."""

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Job
from service.jobs.executors import Process


def end_if_stray(make_session: sessionmaker[Session], job_id: str, process: Process) -> bool:
    """End ``process`` if the job has ended, waits again or runs elsewhere; whether that was so.

    The job's row is locked meanwhile, so nobody can start it anew and lose that process with the old one. A job that
    runs in a process not recorded yet, or that this database does not know, is left alone.
    """
    with writing(make_session) as session:
        job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one_or_none()
        if job is None or (job.status == "running" and job.process in (None, process.record())):
            return False
        process.kill()
        return True

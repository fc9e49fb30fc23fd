"""One thread that claims waiting jobs, starts them and watches them until they end."""

import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Job
from service.jobs.executors import Executor, Process
from service.jobs.queue import Lease, claim, end, owned, release, take_over
from service.jobs.watch import Watch
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError
from trainer.files import write_atomically
from trainer.run import RECIPE_FILE, RESULT_FILE

_LONGEST_PAUSE_SECONDS = 10.0


def new_owner() -> str:
    """A name for a claim that no other process, here or elsewhere, has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Dispatcher:
    """Owns the running jobs of one server. SQL is the truth: what it forgets, the next one finds."""

    def __init__(self, settings: Settings, make_session: sessionmaker[Session], executor: Executor) -> None:
        self._settings = settings
        self._make_session = make_session
        self._executor = executor
        self._artifacts = ArtifactStore(settings.artifact_dir)
        self._lease = Lease(new_owner(), settings.lease_seconds)
        self._watched: dict[str, Watch] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop working, if it works; running jobs go on and wait for the next dispatcher to find them."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Look now: something changed."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def _run(self) -> None:
        pause = self._settings.poll_seconds
        while not self._stopping.is_set():
            self._wake.clear()
            outcomes = [self._guard(self._look, watch) for watch in list(self._watched.values())]
            if self._settings.job_slots:
                outcomes += [self._guard(self._adopt), self._guard(self._start_waiting)]
            # what fails, such as a database that is away, is tried more and more rarely
            pause = self._settings.poll_seconds if all(outcomes) else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._wake.wait(pause)
        self._guard(self._release)

    def _guard(self, step: Callable[..., None], *arguments: object) -> bool:
        """One failing step must not take the thread, nor its neighbours, with it."""
        try:
            step(*arguments)
        except Exception:
            logging.getLogger(__name__).exception("dispatcher: %s failed; trying again", step.__name__)
            return False
        return True

    def _look(self, watch: Watch) -> None:
        if watch.look():
            self._watched.pop(watch.job_id, None)
            self._wake.set()  # a slot is free

    def _adopt(self) -> None:
        """Take over running jobs whose server is gone; whether their process still lives shows at the next look."""
        with self._make_session() as session:
            if not session.scalars(select(Job.id).where(Job.status == "running").limit(1)).first():
                return
        with writing(self._make_session) as session:
            found = [(job.id, job.process) for job in take_over(session, self._lease)]
        for job_id, record in found:
            if job_id not in self._watched:
                self._watch(job_id, self._executor.find(self._settings.runs_dir / job_id, record))

    def _start_waiting(self) -> None:
        while len(self._watched) < self._settings.job_slots and not self._stopping.is_set():
            with self._make_session() as session:
                if not session.scalars(select(Job.id).where(Job.status == "queued").limit(1)).first():
                    return
            with writing(self._make_session) as session:
                job = claim(session, self._lease)
            if job is None:
                return
            self._start(job)

    def _start(self, job: Job) -> None:
        directory = self._settings.runs_dir / job.id
        try:
            if not (directory / RECIPE_FILE).exists():  # submitted to a server with another disk
                write_atomically(directory / RECIPE_FILE, json.dumps(job.recipe, indent=2) + "\n")
            (directory / RESULT_FILE).unlink(missing_ok=True)  # of an attempt before this one
            process = self._executor.start(directory, job.recipe.get("launch", {}))
        except (AssayError, OSError) as error:
            code = error.code if isinstance(error, AssayError) else AssayError.code
            with writing(self._make_session) as session:
                if ours := owned(session, job.id, self._lease):
                    end(ours, "failed", error=(code, f"could not be started: {error}"))
            return
        self._watch(job.id, process)
        with writing(self._make_session) as session:
            if ours := owned(session, job.id, self._lease):
                ours.process = process.record()

    def _watch(self, job_id: str, process: Process) -> None:
        self._watched[job_id] = Watch(
            job_id,
            self._settings.runs_dir / job_id,
            process,
            make_session=self._make_session,
            lease=self._lease,
            artifacts=self._artifacts,
            cancel_grace_seconds=self._settings.cancel_grace_seconds,
        )

    def _release(self) -> None:
        with writing(self._make_session) as session:
            release(session, self._lease)

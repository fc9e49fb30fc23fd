"""One thread that claims waiting jobs, starts them and watches them until they end."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Job
from service.db.workers import register, unregister
from service.jobs.devices import Choice, gpus_at_work, machine_of
from service.jobs.directory import prepare
from service.jobs.executors import Executor, Process, Unreachable
from service.jobs.housekeeping import Housekeeping
from service.jobs.leases import Lease, Silence, claim, owned, release, running_here, signs, take_over, waiting
from service.jobs.queue import end, put_back
from service.jobs.renewal import Renewal
from service.jobs.strays import end_if_stray
from service.jobs.watch import Watch
from service.settings import Settings
from service.slots import Need, Taken, never, not_now, pick
from trainer.errors import AssayError

_LONGEST_PAUSE_SECONDS = 10.0
_LONGEST_SILENCE_SECONDS = 30.0
"""Of a server that is there: others count those that they heard of in the last two minutes."""


def new_owner() -> str:
    """A name for a claim that no other process, here or elsewhere, has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Dispatcher:
    """Owns the running jobs of one server. SQL is the truth: what it forgets, the next one finds."""

    def __init__(self, settings: Settings, make_session: sessionmaker[Session], executor: Executor) -> None:
        self._settings = settings
        self._make_session = make_session
        self._executor = executor
        self._artifacts = settings.open_artifacts()
        self._lease = Lease(new_owner(), settings.lease_seconds)
        self._silence = Silence(self._lease)
        self._watched: dict[str, Watch] = {}
        self._held: dict[str, tuple[Need, tuple[str, ...]]] = {}
        """What each watched job has of the machine."""
        self._machine = machine_of(settings)
        self._swept = self._registered = float("-inf")
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._housekeeping = Housekeeping(settings, make_session)
        self._renewal = Renewal(make_session, self._lease)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()
        if self._settings.job_slots:
            self._housekeeping.start()

    def stop(self) -> None:
        """Stop working, if it works; running jobs go on and wait for the next dispatcher to find them.

        With ``stop_jobs_at_exit`` they are stopped, and queued again.
        """
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._housekeeping.stop()

    def wake(self) -> None:
        """Look now: something changed."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def _run(self) -> None:
        self._renewal.start()
        pause = self._settings.poll_seconds
        while not self._stopping.is_set():
            self._wake.clear()
            outcomes = [self._guard(self._look, watch) for watch in list(self._watched.values())]
            if self._settings.job_slots:
                outcomes += [
                    self._guard(step) for step in (self._register, self._adopt, self._sweep, self._start_waiting)
                ]
            # what fails, such as a database that is away, is tried more and more rarely
            pause = self._settings.poll_seconds if all(outcomes) else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._wake.wait(pause)
        if self._settings.stop_jobs_at_exit and self._executor.name == "local":
            self._stop_jobs()
        self._renewal.stop()
        self._guard(self._release)

    def _guard(self, step: Callable[..., None], *arguments: object) -> bool:
        """One failing step must not take the thread, nor its neighbours, with it."""
        try:
            step(*arguments)
        except AssayError as error:
            logging.getLogger(__name__).error("dispatcher: %s failed; trying again: %s", step.__name__, error.detail)
            return False
        except Exception:
            logging.getLogger(__name__).exception("dispatcher: %s failed; trying again", step.__name__)
            return False
        return True

    def _look(self, watch: Watch) -> None:
        if watch.look():
            self._watched.pop(watch.job_id, None)
            self._held.pop(watch.job_id, None)
            self._wake.set()  # what it had is free
        elif watch.hurried:
            self._wake.set()

    def _adopt(self) -> None:
        """Take over running jobs whose server is gone; whether their process still lives shows at the next look."""
        with self._make_session() as session:
            seen = signs(session)
        for job_id, sign in self._silence.over(seen, self._watched).items():
            process = self._executor.find(self._settings.runs_dir / job_id)
            with writing(self._make_session) as session:
                job = take_over(session, self._lease, job_id, sign)
                if job is None:
                    continue
                if process.is_running():
                    job.process = process.record()
            self._watch(job, process, process.record().get("gpus", ()))

    def _sweep(self) -> None:
        """Now and then end processes whose job another machine took over while this one was away."""
        if time.monotonic() - self._swept < self._settings.lease_seconds:
            return
        for job_id in self._executor.at_work(self._settings.runs_dir):
            if job_id not in self._watched:
                end_if_stray(self._make_session, job_id, self._executor.find(self._settings.runs_dir / job_id))
        self._swept = time.monotonic()

    def _start_waiting(self) -> None:
        tried: set[str] = set()
        while not self._stopping.is_set():
            with Choice() as choice:
                found = self._next(tried, choice)
                if found is None:
                    return
                tried.add(found[0])
                self._start_one(*found)

    def _start_one(self, job_id: str, gpus: tuple[str, ...]) -> None:
        with writing(self._make_session) as session:
            job = claim(session, self._lease, job_id)
            if job is None:  # another server was faster
                return
            try:
                prepare(session, job, self._settings.runs_dir / job.id)
            except (AssayError, OSError, ValueError) as error:
                _end_unstarted(job, error)
        if job.status == "running":
            self._start(job, gpus)

    def _next(self, tried: Collection[str], choice: Choice) -> tuple[str, tuple[str, ...]] | None:
        """The job to start now and the GPUs it gets, if there is one.

        Jobs with and without GPUs stand in two lines. In each nobody passes one that waits for what this server has,
        or large jobs would wait for ever.
        """
        held = [self._held[job_id] for job_id in self._watched]
        taken = Taken.by(held, self._machine.gpus is not None)
        blocked: set[bool] = set()
        looked = False
        with self._make_session() as session:
            for job_id, need in waiting(session):
                line = need.gpus > 0 and self._machine.gpus is not None
                if line in blocked or job_id in tried or never(need, self._machine):
                    continue
                if line and not choice.is_ours():
                    blocked.add(line)  # another server is about to give one out: next time
                    continue
                if line and not looked:  # another server's are not free, nor those of a job not taken over yet
                    taken, looked = replace(taken, gpus=taken.gpus | gpus_at_work()), True
                    if any(need.gpus and not gpus for need, gpus in (*held, *running_here(session))):
                        blocked.add(line)  # nobody knows which they are: an older version gave it them all to see
                        continue
                if not_now(need, self._machine, taken) is None:
                    return job_id, pick(need, self._machine, taken)
                blocked.add(line)
                if len(blocked) == 2:
                    break
        return None

    def _start(self, job: Job, gpus: tuple[str, ...]) -> None:
        launch: dict[str, Any] = dict(job.recipe.get("launch", {}))
        if self._machine.gpus or self._machine.withheld or self._settings.gpus is not None:
            launch["gpus"] = gpus
        try:
            process = self._executor.start(self._settings.runs_dir / job.id, launch)
        except Unreachable as error:
            self._swept = float("-inf")  # should it have begun nevertheless, it is ended before it is started anew
            with writing(self._make_session) as session:
                if ours := owned(session, job.id, self._lease):
                    put_back(ours, error.detail)
            raise  # nor can others start at present
        except (AssayError, OSError) as error:
            with writing(self._make_session) as session:
                if ours := owned(session, job.id, self._lease):
                    _end_unstarted(ours, error)
            return
        self._watch(job, process, gpus)
        with writing(self._make_session) as session:
            if ours := owned(session, job.id, self._lease):
                ours.process = process.record()

    def _watch(self, job: Job, process: Process, gpus: Iterable[str]) -> None:
        self._held[job.id] = (Need.of(job.recipe.get("launch", {}), job.memory_bytes), tuple(gpus))
        self._watched[job.id] = Watch(
            job.id,
            self._settings.runs_dir / job.id,
            process,
            make_session=self._make_session,
            lease=self._lease,
            artifacts=self._artifacts,
            cancel_grace_seconds=self._settings.cancel_grace_seconds,
        )

    def _stop_jobs(self) -> None:
        """Let running jobs save; those that have not in time are ended, and wait for another server all the same."""
        deadline = time.monotonic() + self._settings.cancel_grace_seconds
        while self._watched and time.monotonic() < deadline:
            for watch in list(self._watched.values()):
                self._guard(watch.ask_to_stop)
                self._guard(self._look, watch)
            if not any(watch.hurried for watch in self._watched.values()):
                time.sleep(min(self._settings.poll_seconds, 1.0))
        for watch in self._watched.values():
            self._guard(watch.put_back)

    def _register(self) -> None:
        """Now and then say what there is for jobs here."""
        if time.monotonic() - self._registered >= min(self._lease.seconds / 3, _LONGEST_SILENCE_SECONDS):
            with writing(self._make_session) as session:
                register(session, self._lease.owner, self._machine)
            self._registered = time.monotonic()

    def _release(self) -> None:
        with writing(self._make_session) as session:
            release(session, self._lease)
            unregister(session, self._lease.owner)


def _end_unstarted(job: Job, error: Exception) -> None:
    code = error.code if isinstance(error, AssayError) else AssayError.code
    end(job, "failed", error=(code, f"could not be started: {error}"))

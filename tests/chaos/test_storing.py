"""A server killed amid storing or deleting a run leaves nothing half visible and nothing twice.

A run's rows tell how far either is: the server is killed once there are so many of them, a number chosen by chance.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.db.samples import response_page, score_page
from service.db.session import sessions, writing
from service.db.tables import (
    Comparison,
    Correlation,
    Curve,
    Job,
    JobEvent,
    JobMetric,
    Prompt,
    Response,
    RunPrompts,
    Score,
    StressTest,
)
from tests.chaos.undisturbed import seed_of_this_run

PATH = "/v1/stress-tests"
MEASURED = (Prompt, Response, Score, Correlation, Curve, Comparison, RunPrompts, StressTest)
OF_THE_RUN_ITSELF = {"id", "run", "run_a", "run_b", "created_at"}
LARGE = (Prompt, Response, Score)


def stored(session: Session, run: str) -> int:
    """How many rows there are of what is stored in pieces, of which each is a range of numbers."""
    spans = [
        session.execute(select(func.min(table.number), func.max(table.number)).where(table.run == run)).one()
        for table in LARGE
    ]
    return sum(last - first + 1 for first, last in spans if last is not None)


def measured(session: Session, run: str) -> dict[str, list[Any]]:
    """All that a run's tables say of it, apart from whose and when it is."""
    found = {}
    for table in MEASURED:
        columns = [column for column in table.__table__.columns if column.name not in OF_THE_RUN_ITSELF]
        whose = {Comparison: "run_a", StressTest: "id"}.get(table, "run")
        rows = session.execute(select(*columns).where(table.__table__.c[whose] == run).order_by(columns[0]))
        found[table.__tablename__] = [tuple(row) for row in rows]
    return found


class Onlooker(threading.Thread):
    """Looks at a run all the time, whoever is dead, and remembers when it saw a part of it."""

    def __init__(self, world: Any, run: str, everything: int) -> None:
        super().__init__(daemon=True)
        isolated = {} if world.engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._make_session = sessions(world.engine.execution_options(**isolated))  # one moment for all that is asked
        self._run_id = run
        self._everything = everything
        self._over = threading.Event()
        self.parts: list[tuple[Any, ...]] = []
        self.looks: dict[bool, int] = {True: 0, False: 0}
        """By whether the run was there to be seen."""
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.wait(0.05):
                self._look()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self._over.set()
        self.join()
        assert self.error is None
        self._look()
        assert self.parts == []

    def _look(self) -> None:
        with self._make_session() as session:
            rows = stored(session, self._run_id)
            seen = (
                bool(response_page(session, self._run_id, limit=1).data),
                bool(score_page(session, self._run_id, limit=1).data),
                session.scalar(select(func.count()).where(Correlation.run == self._run_id)) == 1,
                session.get(StressTest, self._run_id) is not None,
            )
        if len(set(seen)) != 1 or (seen[0] and rows != self._everything):
            self.parts.append((*seen, rows))
        self.looks[seen[0]] += 1


@contextmanager
def looked_at(world: Any, run: str, everything: int) -> Iterator[Onlooker]:
    onlooker = Onlooker(world, run, everything)
    onlooker.start()
    yield onlooker
    onlooker.stop()


def wait_until(world: Any, condition: Callable[[Session], Any], seconds: float = 300.0) -> Any:
    """Its first answer that is true."""
    deadline = time.monotonic() + seconds
    while True:
        with Session(world.engine) as session:
            answer = condition(session)
        if answer:
            return answer
        assert time.monotonic() < deadline, "nothing happens any more"
        time.sleep(0.003)


def status(session: Session, run: str) -> str | None:
    return session.scalar(select(Job.status).where(Job.id == run))


def succeeded(session: Session, run: str) -> bool:
    found = session.get_one(Job, run)
    assert found.status in {"queued", "running", "succeeded"}, found.error_detail
    return found.status == "succeeded"


def kill_amid_storing(world: Any, run: str, kills: int, everything: int) -> list[int]:
    """Kill the server that often while it stores; return how many rows each left."""
    left: list[int] = []
    owner = None
    for kill in range(kills):
        fresh = wait_until(world, lambda session, owner=owner: _another_owner(session, run, owner))
        before = left[-1] if left else 0
        if before and kill % 2:  # amid the deletion of what the one before had stored
            goal = world.random.randrange(before)
            wait_until(world, lambda session, goal=goal: stored(session, run) <= goal)
        else:
            goal = world.random.randrange(1, everything * 3 // 4)
            wait_until(world, lambda session, goal=goal: stored(session, run) < goal)
            wait_until(world, lambda session, goal=goal: stored(session, run) >= goal)
        time.sleep(world.random.uniform(0, 0.01))
        world.kill_servers()
        owner = fresh
        world.restart_dead_servers()
        with Session(world.engine) as session:
            if status(session, run) != "running":  # the kill came too late
                break
            left.append(stored(session, run))
    return left


def _another_owner(session: Session, run: str, owner: str | None) -> str | None:
    found = session.scalar(select(Job.lease_owner).where(Job.id == run))
    return found if found != owner else None


def kill_amid_deletion(world: Any, run: str, kills: int) -> list[int]:
    """Kill each server, which deletes from its beginning, until so few rows are left; return how many each left."""
    left: list[int] = []
    with Session(world.engine) as session:
        now = stored(session, run)
    for kill in range(kills):
        goal = now * (kills - kill) // (kills - kill + 1)
        world.restart_dead_servers()
        wait_until(world, lambda session, goal=goal: stored(session, run) <= goal)
        time.sleep(world.random.uniform(0, 0.01))
        world.kill_servers()
        with Session(world.engine) as session:
            if status(session, run) != "lost":
                break
            now = stored(session, run)
        left.append(now)
    return left


def grow_old(world: Any, run: str) -> None:
    with writing(sessions(world.engine)) as session:
        session.get_one(Job, run).finished_at = datetime.now(UTC) - timedelta(days=11)


def survive(world: Any, prompts: int, kills: int) -> None:
    recipe = {"kind": "stress_test", "seed": 3, "steps": 10, "prompts_per_step": prompts // 10}
    everything = 4 * prompts  # one response of each prompt, two scores of each
    undisturbed = world.submit(PATH, {**recipe, "name": "undisturbed"}, "undisturbed")
    wait_until(world, lambda session: succeeded(session, undisturbed))
    with Session(world.engine) as session:
        expected = measured(session, undisturbed)
    assert {name: len(rows) for name, rows in expected.items()} == {
        **{"prompts": prompts, "responses": prompts, "scores": 2 * prompts},
        **{"correlations": 1, "curves": 2, "comparisons": 1, "run_prompts": 1, "stress_tests": 1},
    }
    world.held.touch()
    run = world.submit(PATH, {**recipe, "name": "hurt"}, "hurt")
    with looked_at(world, run, everything) as onlooker:
        left = kill_amid_storing(world, run, kills, everything)
        world.held.unlink()
        wait_until(world, lambda session: succeeded(session, run))
    print(f"killed amid storing, leaving {left} of {everything}; looked {onlooker.looks}")  # noqa: T201
    assert sum(0 < rows < everything for rows in left) >= kills / 2
    assert min(onlooker.looks.values()) > 0
    with Session(world.engine) as session:
        assert measured(session, run) == expected
        sequences = session.scalars(select(JobEvent.sequence).where(JobEvent.job == run).order_by(JobEvent.sequence))
        assert list(sequences) == list(range(1, session.get_one(Job, run).events_seen + 1))

    world.kill_servers()
    grow_old(world, run)
    world.settings = world.settings.model_copy(update={"keep_jobs_days": 10.0})
    world.held.touch()
    with looked_at(world, run, everything):
        left = kill_amid_deletion(world, run, kills // 2)
        print(f"killed amid deletion, leaving {left} of {everything}")  # noqa: T201
        assert 0 < left[0] < everything
        world.held.unlink()
        world.settings = world.settings.model_copy(update={"keep_jobs_days": None})
        world.restart_dead_servers()
        resume(world, run)
        wait_until(world, lambda session: succeeded(session, run))
    with Session(world.engine) as session:
        assert measured(session, run) == expected

    world.kill_servers()
    grow_old(world, run)
    world.settings = world.settings.model_copy(update={"keep_jobs_days": 10.0})
    world.restart_dead_servers()
    wait_until(world, lambda session: status(session, run) is None)
    with Session(world.engine) as session:
        assert not any(measured(session, run).values())
        for table in (JobEvent, JobMetric):
            assert set(session.scalars(select(table.job))) == {undisturbed}
        assert measured(session, undisturbed) == expected
    wait_until(world, lambda session: directories(world) == [undisturbed])


def directories(world: Any) -> list[str]:
    return sorted(path.name for path in world.settings.runs_dir.glob("*run_*"))


def resume(world: Any, run: str) -> None:
    for _ in range(100):
        try:
            assert httpx.post(f"{world.urls[0]}{PATH}/{run}/resume", timeout=30).status_code == 202
        except httpx.TransportError:  # it is not up yet
            time.sleep(0.2)
        else:
            return
    raise TimeoutError


def test_a_run_survives_kills_while_it_is_stored_and_while_it_is_deleted(make_world: Callable[..., Any]) -> None:
    survive(make_world(servers=1, seed=seed_of_this_run(), slots=1, rows_at_once=5), prompts=400, kills=2)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_large_run_survives_many_kills_while_it_is_stored_and_while_it_is_deleted(
    make_world: Callable[..., Any],
) -> None:
    kills = max(4, int(os.environ.get("CHAOS_KILLS", "300")) // 20)
    survive(make_world(servers=1, seed=seed_of_this_run(), slots=1), prompts=40_000, kills=kills)

"""Wall clocks that jump by hours, and servers whose clocks differ, change nothing about jobs."""

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.session import sessions, writing
from service.db.tables import Job
from tests.chaos.undisturbed import PATHS, all_ended, check_job, recipe, seed_of_this_run

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
HOURS = (5, -7, 0, 30, -3)

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt install faketime")


def get(world: Any, index: int, path: str) -> httpx.Response:
    """Asked for until the server is up."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return httpx.get(world.urls[index] + path, timeout=30)
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_jobs_end_once_while_the_clocks_of_two_servers_jump(
    make_world: Callable[..., Any], follow: Callable[..., Any]
) -> None:
    world = make_world(servers=2, seed=seed_of_this_run(), slots=2, clocks=LIBRARY, lease_seconds=5.0)
    world.set_clock(0, 5)
    world.set_clock(1, -7)
    for index in (0, 1):
        get(world, index, "/livez")  # one that starts late would find no job left
    recipes, followers = {}, {}
    began = time.monotonic()
    for number in range(4):
        content = recipe(number, steps=160)
        job_id = world.submit(PATHS[content["kind"]], content, f"key-{number}")
        recipes[job_id] = content
        followers[job_id] = follow(world, f"{PATHS[content['kind']]}/{job_id}/events")
    owners, first, rates, jumps = defaultdict(set), {}, [], 0
    while not all_ended(world):
        assert time.monotonic() < began + 300, "jobs were forgotten"
        world.set_clock(jumps % 2, world.random.choice(HOURS))
        jumps += 1
        with Session(world.engine) as session:
            for job in session.scalars(select(Job).where(Job.status == "running")):
                owners[job.id].add(job.lease_owner)
        for job_id, content in recipes.items():
            job = get(world, jumps % 2, f"{PATHS[content['kind']]}/{job_id}").json()
            if job["status"] == "queued" and world.engine.dialect.name == "postgresql":  # others share one clock
                assert job["waiting_reason"] != "no server carries out jobs at present"
            elif job["progress"] and job["progress"]["rate"]:
                done, rate, eta = (job["progress"][name] for name in ("done", "rate", "eta_seconds"))
                rates.append((rate, (done - first.setdefault(job_id, done)) / (time.monotonic() - began)))
                assert eta == pytest.approx((160 - done) / rate)
        time.sleep(0.2)
    print(f"{jumps} jumps, {len(rates)} rates")  # noqa: T201

    assert all(len(seen) == 1 for seen in owners.values()), "a lease did not hold"
    assert len(set.union(*owners.values())) == 2
    assert rates
    # as fast as steps can be, and no slower than this process's clock has seen: a clock that jumps is hours off
    assert all(0 < rate < 1.2 / 0.05 and least <= rate for rate, least in rates)
    for follower in followers.values():
        follower.join(60)
    with Session(world.engine) as session:
        for job_id, content in recipes.items():
            assert session.get_one(Job, job_id).attempts == 1
            check_job(session, world.settings.runs_dir / job_id, job_id, content, followers[job_id])
    for index in (0, 1):
        lines = get(world, index, "/metrics").text.splitlines()
        seconds = [line for line in lines if line.startswith("assay_job_seconds_total")]
        assert len(seconds) == 2
        assert all(float(line.split()[1]) >= 0 for line in seconds)
    assert world.processes() == []


@pytest.mark.chaos
@pytest.mark.parametrize("ahead", [True, False])
def test_a_server_whose_clock_is_hours_off_takes_over_and_deletes_only_what_is_old(
    make_world: Callable[..., Any], follow: Callable[..., Any], ahead: bool
) -> None:
    world = make_world(servers=1, seed=seed_of_this_run(), slots=3, clocks=LIBRARY, keep_jobs_days=1.0)
    old, new, running = recipe(0, steps=1), recipe(2, steps=1), recipe(4, steps=100)
    ids = [world.submit(PATHS["stress_test"], content, content["name"]) for content in (old, new, running)]
    follower = follow(world, f"{PATHS['stress_test']}/{ids[2]}/events")
    deadline = time.monotonic() + 120
    while True:
        with Session(world.engine) as session:
            told = [session.get_one(Job, job_id) for job_id in ids]
        if [job.status for job in told] == ["succeeded", "succeeded", "running"] and told[2].progress:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with writing(sessions(world.engine)) as session:
        session.get_one(Job, ids[0]).finished_at = datetime.now(UTC) - timedelta(days=2)
    world.kill_servers()
    # PostgreSQL has a clock of its own, which counts; SQLite's is the server's, and 50 hours would be two days
    hours = 50 if world.engine.dialect.name == "postgresql" else 20
    world.set_clock(0, hours if ahead else -hours)
    world.restart_dead_servers()

    while not all_ended(world) or get(world, 0, f"{PATHS['stress_test']}/{ids[0]}").status_code == 200:
        assert time.monotonic() < deadline + 120
        time.sleep(0.1)

    follower.join(60)
    with Session(world.engine) as session:
        assert set(session.scalars(select(Job.id))) == set(ids[1:])
        assert session.get_one(Job, ids[1]).status == "succeeded"
        check_job(session, world.settings.runs_dir / ids[2], ids[2], running, follower)
        assert session.get_one(Job, ids[2]).attempts == 1

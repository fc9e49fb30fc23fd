"""Whatever is killed whenever, every job ends as if nothing had happened."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.chaos.undisturbed import PATHS, all_ended, check_job, recipe, seed_of_this_run


def survive(world: Any, follow: Callable[..., Any], *, jobs: int, steps: int, kills: int, pause: float) -> None:
    """Kill that often while the jobs run, let them end, and compare with what an undisturbed run leaves."""
    recipes = {}
    followers = {}
    for number in range(jobs):
        content = recipe(number, steps)
        job_id = world.submit(PATHS[content["kind"]], content, f"key-{number}")
        recipes[job_id] = content
        followers[job_id] = follow(world, f"{PATHS[content['kind']]}/{job_id}/events")
    deadline = time.monotonic() + 300 + 3 * kills
    while sum(world.kills.values()) < kills and not _quietly(all_ended, world):
        time.sleep(world.random.uniform(0, 2 * pause))
        world.hurt()
        world.restart_dead_servers()
    while not _quietly(all_ended, world):
        assert time.monotonic() < deadline, "jobs were forgotten"
        world.restart_dead_servers()
        time.sleep(0.1)
    for follower in followers.values():
        follower.join(60)
        follower.over.set()
    print(world.kills)  # noqa: T201 - what was survived

    with Session(world.engine) as session:
        for job_id, content in recipes.items():
            check_job(session, world.settings.runs_dir / job_id, job_id, content, followers[job_id])
    published = sorted(str(path.parent.relative_to(world.settings.artifact_dir)) for path in manifests(world))
    assert published == sorted(f"{each['name']}/1" for each in recipes.values() if each["kind"] == "sft")
    assert world.processes() == []


def manifests(world: Any) -> list[Path]:
    return [path for path in world.settings.artifact_dir.glob("*/*/manifest.json") if ".staging" not in path.parts]


def _quietly(question: Callable[[Any], bool], world: Any) -> bool:
    """No is the answer of a database that is away."""
    try:
        return question(world)
    except Exception:
        return False


def test_jobs_survive_a_dozen_kills(make_world: Callable[..., Any], follow: Callable[..., Any]) -> None:
    world = make_world(servers=1, seed=seed_of_this_run(), slots=3)

    survive(world, follow, jobs=3, steps=40, kills=12, pause=0.15)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_jobs_survive_hundreds_of_kills(make_world: Callable[..., Any], follow: Callable[..., Any]) -> None:
    kills = int(os.environ.get("CHAOS_KILLS", "300"))
    world = make_world(servers=2, seed=seed_of_this_run(), slots=3)

    survive(world, follow, jobs=12, steps=kills * 3, kills=kills, pause=0.3)
    assert sum(world.kills.values()) >= kills

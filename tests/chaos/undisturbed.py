"""What an undisturbed installation leaves, which is what a disturbed one is compared with."""

import importlib.util
import json
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.db.tables import ArtifactRow, Job, JobEvent, JobMetric, Prompt, Response, Score, StressTest

PATHS = {"sft": "/v1/training-jobs", "stress_test": "/v1/stress-tests"}


def seed_of_this_run() -> int:
    """CHAOS_SEED repeats what a printed seed began; the moments still differ, as processes do."""
    seed = int(os.environ.get("CHAOS_SEED", secrets.randbelow(2**32)))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown where the test fails
    return seed


def digest_after(seed: int, steps: int) -> str:
    spec = importlib.util.spec_from_file_location("chained_recipe", Path(__file__).with_name("chained_recipe.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.digest_after(seed, steps))


def recipe(number: int, steps: int) -> dict[str, Any]:
    kind = "sft" if number % 2 else "stress_test"
    same = {"steps": steps, "seconds_per_step": 0.05, "ballast": 5}  # more events than are read at once
    return {"kind": kind, "name": f"n{number}", "seed": number, **same}


def all_ended(world: Any) -> bool:
    with Session(world.engine) as session:
        return not session.scalar(select(func.count()).select_from(Job).where(Job.status.in_(["queued", "running"])))


def check_job(session: Session, directory: Path, job_id: str, content: dict[str, Any], follower: Any) -> None:
    job = session.get_one(Job, job_id)
    assert (job.status, job.error_detail) == ("succeeded", None)
    assert job.result == {"policy": "my-policy@1", "digest": digest_after(content["seed"], content["steps"])}
    assert not (directory / "met").exists(), "two processes worked on it at once"

    in_file = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    stored = session.scalars(select(JobEvent).where(JobEvent.job == job_id).order_by(JobEvent.sequence)).all()
    sequences = list(range(1, len(in_file) + 1))
    assert [event["sequence"] for event in in_file] == sequences
    assert [event.sequence for event in stored] == sequences
    assert [event.type for event in stored] == [event["type"] for event in in_file]
    assert follower.seen == [str(sequence) for sequence in sequences]
    assert follower.status == '{"status": "succeeded"}'
    # one more start may have been killed before it could say so
    assert Counter(event.type for event in stored)["started"] <= job.attempts

    links = dict(session.execute(select(JobMetric.step, JobMetric.value).where(JobMetric.job == job_id)).all())
    assert links[content["steps"]] == int(job.result["digest"][:8], 16)
    rows = {
        table: session.scalar(select(func.count()).select_from(table).where(table.run == job_id))
        for table in (Prompt, Response, Score)
    }
    if content["kind"] == "sft":
        assert session.scalars(select(ArtifactRow.version).where(ArtifactRow.job == job_id)).all() == [1]
    else:
        assert rows == {Prompt: content["steps"], Response: content["steps"], Score: 2 * content["steps"]}
        assert session.get(StressTest, job_id) is not None

"""A real training run, killed again and again while its database crashes, publishes an undisturbed one's bits."""

import hashlib
import os
import random
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from service.db.queries import get_job
from service.db.records import TERMINAL
from service.db.schema import upgrade
from service.db.session import make_engine, sessions
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.kinds import parse_any_recipe
from service.jobs.queue import submit
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.run import run_recipe

ROOT = Path(__file__).parents[2]
RECIPE = {
    "kind": "sft",
    "name": "tiny",
    "policy": {"scratch": {"hidden_size": 32, "layers": 2, "heads": 2, "max_tokens": 96}},
    "data": {"kind": "product_world", "size": 512, "validation_size": 8},
    "batch": {"size": 16},
    "max_steps": 300,
    "checkpoint": {"every_steps": 5},
}
KILLS = int(os.environ.get("CHAOS_TRAINING_KILLS", "8"))


def weights(store: ArtifactStore) -> str:
    return hashlib.sha256((store.open("tiny@1").path / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_policy_trained_under_kills_has_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    seed = int(os.environ.get("CHAOS_SEED", secrets.randbelow(2**32)))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown where the test fails
    moments = random.Random(seed)
    undisturbed = ArtifactStore(tmp_path / "undisturbed")
    recipe = parse_any_recipe(RECIPE)
    run_recipe(recipe, tmp_path / "alone", undisturbed, quiet=True)

    settings = Settings(
        database_url=database.url,
        artifact_dir=tmp_path / "artifacts",
        runs_dir=tmp_path / "runs",
        poll_seconds=0.05,
        max_attempts=100,
    )
    engine = make_engine(settings.database_url)
    upgrade(engine)
    executor = LocalExecutor(settings.artifact_dir)
    dispatcher = Dispatcher(settings, sessions(engine), executor)
    job_id = submit(sessions(engine), recipe, settings)
    checkpoints = settings.runs_dir / job_id / "checkpoints"
    dispatcher.start()
    kills = crashes = 0
    seen: set[Path] = set()
    try:
        while True:
            with Session(engine) as session:
                job = get_job(session, job_id)
            if job.status in TERMINAL:
                break
            found = set(checkpoints.glob("step-*"))
            if kills < KILLS and not found <= seen:  # some way beyond a new one, perhaps amid the next
                seen = found
                time.sleep(moments.uniform(0, 0.2))
                if kills % 3 == 1 and database.crash():  # the job, whose server cannot write, goes on
                    crashes += 1
                else:
                    executor.find(settings.runs_dir / job_id).kill()
                kills += 1
            time.sleep(0.02)
    finally:
        dispatcher.stop()
        engine.dispose()

    print(f"{kills} kills, {crashes} of the database, {job.attempts} attempts")  # noqa: T201 - what was survived
    assert (job.status, job.error) == ("succeeded", None)
    assert kills >= 2
    assert crashes or engine.dialect.name == "sqlite"
    assert weights(ArtifactStore(settings.artifact_dir)) == weights(undisturbed)

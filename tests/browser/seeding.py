"""A database with something to show on every page: what was measured, trained, failed, stopped and monitored."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session, sessionmaker

from evaluation.statistics.drift import Clustered, moved, share, share_moved
from service.db.aliases import point
from service.db.artifacts import record_artifact
from service.db.ids import new_id
from service.db.monitored import keep_state
from service.db.schema import upgrade
from service.db.session import make_engine, sessions, writing
from service.db.tables import Job, JobMetric
from service.jobs.kinds import id_prefix
from service.monitoring.state import Drift, ScorerState
from tests.correlation_lines import estimate
from tests.stored_runs import ingest_run
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

LONG = "a-name-as-long-as-people-make-them-when-a-sweep-writes-its-settings-into-it"
EVIL = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


@dataclass(frozen=True)
class Stored:
    """What is in a database, by what it is."""

    run: str
    job: str
    failed: str
    cancelled: str
    artifact: str
    """``NAME@VERSION`` with parents, children and probe pairs."""


def fill(directory: Path, url: str, publish: Callable[..., Artifact]) -> Stored:
    """Store a finished stress test, trained, failed and cancelled jobs, artifacts and a look at what is monitored."""
    engine = make_engine(url)
    upgrade(engine)
    make_session = sessions(engine)
    store = ArtifactStore(directory / "artifacts")
    first = publish(store, "helpful", seed=1)
    second = publish(store, "helpful", seed=2, temperature=2.0, parents=[first.as_parent("backbone")])
    publish(store, LONG[:60], seed=3, parents=[second.as_parent("backbone"), first.as_parent("anchor")])
    with writing(make_session) as session:
        for artifact in store.all():
            record_artifact(session, artifact)
    point(make_session, second, "champion")

    _monitor(make_session, second.reference)
    add = _adder(make_session, directory / "runs")
    run = add("stress_test", name="demo-stress", labels={"study": "demo"})
    measured = directory / "runs" / run
    _write_measured(measured)
    with writing(make_session) as session:
        ingest_run(session, run, measured)
    job = add("ganpo", name="trained", log="step 1\nstep 2\ndone\n", metrics=_metrics())
    failed = add(
        "sft", "failed", name=EVIL, error_code="run_failed", error_detail=f"the loss is not finite {EVIL} {LONG}",
        log=f"{EVIL}\n" * 60,
    )  # fmt: skip
    cancelled = add("sft", "cancelled", name=LONG)
    engine.dispose()
    return Stored(run, job, failed, cancelled, second.reference)


def _monitor(make_session: sessionmaker[Session], scorer: str) -> None:
    """What a look at the sample left: a scorer that has drifted, and one of which there is little."""
    rows = [Clustered(np.arange(200.0) + shift, np.arange(200)) for shift in (40, 0)]
    moved_by = moved(*rows, draws=50)
    drift = Drift(
        **{"n_now": 200, "n_reference": 200, "score": moved_by, "length": moved_by},
        **{
            "truncated": share_moved((20, 200), (4, 200)),
            "cut_now": share((20, 200)),
            "cut_reference": share((4, 200)),
        },
    )
    words = "validation data, 200 responses to 200 prompts"
    drifted = ScorerState(
        scorer=f"{scorer}:score", rows=200, reference=words, reference_kind="validation", drift=drift, trust=[]
    )
    young = ScorerState(scorer=f"{LONG}@1:score", rows=3, reference="the first 1,000 scores kept", drift=None, trust=[])
    with writing(make_session) as session:
        for state in (drifted, young):
            content = state.model_dump(mode="json")
            keep_state(session, state.scorer, reference=None, state=content, now=datetime.now(UTC))


def _adder(make_session: Any, runs: Path) -> Callable[..., str]:
    def add(
        kind: str,
        status: str = "succeeded",
        *,
        log: str = "",
        metrics: dict[str, list[float]] | None = None,
        **fields: Any,
    ) -> str:
        begun = datetime.now(UTC) - timedelta(hours=3)
        recipe = {"kind": kind, "name": "demo", "policy": {"path": "demo/policy"}}
        facts = {
            "recipe": recipe,
            "recipe_digest": "d" * 64,
            "labels": {},
            "executor": "local",
            "attempts": 1,
            "max_attempts": 3,
            "code_version": "0.1.0",
            "created_at": begun,
            "started_at": begun,
            "finished_at": begun + timedelta(seconds=754),
        }
        job = Job(id=new_id(id_prefix(kind)), kind=kind, status=status, **{**facts, **fields})
        directory = runs / job.id
        directory.mkdir(parents=True)
        (directory / "log.txt").write_text(log)
        with writing(make_session) as session:
            session.add(job)
            session.flush()
            for name, values in (metrics or {}).items():
                points = enumerate(values, start=1)
                session.add_all(
                    JobMetric(job=job.id, stage="train", name=name, step=10 * step, value=value)
                    for step, value in points
                )
        return job.id

    return add


def _metrics() -> dict[str, list[float]]:
    return {
        "loss": [2.0 / step for step in range(1, 121)],
        "rewards/margins": [step / 200 for step in range(1, 121)],
        "rewards/accuracies": [0.5 + step / 300 for step in range(1, 121)],
        "learning_rate": [5e-7] * 120,
    }


def _write_measured(directory: Path) -> None:
    """Two scorers and a control at three temperatures, with the prompts, responses and scores behind them."""
    temperatures = (0.0, 1.0, 2.0)
    r = {"helpful": (0.7, 0.5, 0.2), "helpful:other": (0.4, 0.3, None), "length": (0.1, 0.0, -0.1)}
    four = {"policy": "demo/policy@1", "n_prompts": 4}
    cells = [(name, *cell) for name, path in r.items() for cell in zip(temperatures, path, strict=True)]
    rows = [estimate(name, t, value, **four) for name, t, value in cells]
    means = [(name, t) for name in ("judge", "length") for t in temperatures]
    rows += [estimate(name, t, t, **four, statistic="mean", oracle=name) for name, t in means]
    _lines(directory / "correlations.jsonl", rows)
    prompts = [{"prompt_id": str(n), "prompt": f"prompt {n} {EVIL} {LONG}", "task": None} for n in range(4)]
    _lines(directory / "prompts.jsonl", prompts)
    cells = [(n, t, k) for n in range(4) for t in temperatures for k in range(1 if t == 0 else 2)]
    responses = [
        {
            "prompt_id": str(n), "temperature": t, "replicate": k, "response": f"response {k} {EVIL}\n{LONG}",
            "tokens": 12, "finish_reason": "stop", "mean_logprob": -1.5, "sampler": {"top_p": 1.0},
        }
        for n, t, k in cells
    ]  # fmt: skip
    _lines(directory / "responses.jsonl", responses)
    roles = {"helpful": "scorer", "helpful:other": "scorer", "length": "control", "judge": "oracle"}
    scores = [
        {
            "prompt_id": str(n), "temperature": t, "replicate": k, "scorer": name, "scorer_version": None, "role": role,
            "score": n - t + k * len(name) / 10, "tokens": 20, "truncated_tokens": 0, "error": None,
        }
        for n, t, k in cells
        for name, role in roles.items()
    ]  # fmt: skip
    _lines(directory / "scores.jsonl", scores)
    result = {
        "kind": "stress_test", "policy": "demo/policy@1", "temperatures": list(temperatures), "n_prompts": 4,
        "n_responses": len(cells), "scorers": ["helpful", "helpful:other"], "controls": ["length"],
        "oracles": ["judge"], "notices": [],
    }  # fmt: skip
    (directory / "result.json").write_text(json.dumps({"status": "succeeded", "result": result}))


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

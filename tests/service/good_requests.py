"""A request that succeeds for each operation of the API, and the server that has what they ask about."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Alert, Job
from tests.correlation_lines import estimate
from tests.stored_runs import ingest_run
from trainer.artifacts import ArtifactStore

Request = dict[str, Any]
"""Any of ``path_parameters``, ``query`` and ``body``."""

GOLDEN = Path(__file__).parent / "routes" / "compat" / "golden"

KINDS = {
    "training-jobs": "sft",
    "stress-tests": "stress_test",
    "audits": "audit",
    "win-rates": "win_rate",
    "benchmarks": "benchmark",
}
"""Of each there is a job that failed, ``KIND_1``; of stress tests also one that succeeded, ``stress_test_2``."""

PROMPT = "product lamp | color red"
RESPONSES = ["the lamp is red .", "the lamp is blue ."]
ITEMS = [{"id": 1, "prompt": PROMPT, "responses": RESPONSES}, {"prompt": PROMPT, "response": ""}]
AT = datetime(2030, 1, 1, tzinfo=UTC)
RUN = "stress_test_2"
DISCRIMINATOR = "policy/discriminator:chosen"
SPARE = "spare@1"
"""An artifact, and ``judge@spare`` an alias, that nothing else needs."""


PROGRAM = """
from tests.service.good_requests import publish_artifacts
publish_artifacts()
from service.cli import main
raise SystemExit(main(["serve", "--port", "0"]))
"""
"""A server that makes its artifacts first: it needs torch, and so the tests do not."""


def publish_artifacts() -> None:
    """``judge``, whose scores have probabilities, ``plain``, whose scores have none, one to be deleted, and a policy
    with its discriminator."""
    from transformers.utils import logging

    from tests.conftest import publish_reward_model
    from tests.evaluation.conftest import publish_discriminator, publish_policy
    from trainer.data.rows import Pair

    logging.disable_progress_bar()
    store = ArtifactStore(Path("artifacts"))
    publish_reward_model(store, "judge", seed=2, temperature=2.0)
    publish_reward_model(store, "plain", seed=1, loss="bradley_terry")
    publish_reward_model(store, SPARE.partition("@")[0], seed=3)
    pairs = [Pair(PROMPT, response) for response in RESPONSES]
    publish_discriminator(store, pairs, publish_policy(store, pairs, seed=0, parents=[]))


def store_jobs(make_session: sessionmaker[Session], directory: Path, of: dict[str, Request]) -> None:
    """The jobs of ``KINDS``, with these recipes, the rows of ``stress_test_2``, and ``alert_1``."""
    cells = [
        {"prompt_id": prompt, "temperature": temperature, "replicate": replicate}
        for prompt in ("a", "b")
        for temperature in (0.0, 1.0)
        for replicate in (0, 1)
    ]
    said = [("scorer", "judge", 1), ("scorer", "plain", 1), ("control", "length", None), ("oracle", "checker", None)]
    files: dict[str, list[dict[str, Any]]] = {
        "prompts.jsonl": [{"prompt_id": prompt, "prompt": f"{PROMPT} {prompt}"} for prompt in ("a", "b")],
        "responses.jsonl": [{**cell, "response": RESPONSES[cell["replicate"]], "tokens": 5} for cell in cells],
        "scores.jsonl": [
            {**cell, "role": role, "scorer": name, "scorer_version": version, "score": float(number * (place + 1) % 5)}
            for place, (role, name, version) in enumerate(said)
            for number, cell in enumerate(cells)
        ],
        "correlations.jsonl": [
            estimate("judge", temperature, value, oracle="checker", scorer_version=1)
            for temperature, value in ((0.0, None), (1.0, 0.5))
        ],
    }
    directory.mkdir()
    for name, rows in files.items():
        (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {"status": "succeeded", "result": {"policy": "demo/policy"}}
    (directory / "result.json").write_text(json.dumps(result))
    with writing(make_session) as session:
        session.add_all(_job(f"{kind}_1", kind, "failed", of[resource]) for resource, kind in KINDS.items())
        session.add(_job(RUN, "stress_test", "succeeded", of["stress-tests"]))
        session.add(_alert())
        session.flush()
        ingest_run(session, RUN, directory)


def _job(name: str, kind: str, status: str, recipe: Request) -> Job:
    return Job(
        id=name,
        kind=recipe["kind"],
        name="j",
        status=status,
        recipe=recipe,
        recipe_digest="",
        labels={"a": "b"},
        executor="local",
        max_attempts=1,
        code_version="0",
        created_at=AT,
    )


def _alert() -> Alert:
    return Alert(
        id="alert_1",
        open_key="k",
        kind="drift",
        scorer="judge@1",
        subject="score",
        lower=0.3,
        threshold=0.1,
        detail="d",
        raised_at=AT,
        tell_after=AT,
    )


def compatible_requests() -> dict[str, Request]:
    """Golden requests that succeed, by address: each route of another server's format has one."""
    found: dict[str, Request] = {}
    for path in sorted(GOLDEN.glob("*.json")):
        golden = json.loads(path.read_text())
        if golden["status"] == 200 and golden["request"] != {"query": []}:
            for address in golden["addresses"]:
                found.setdefault(f"POST {address.partition('?')[0]}", {"body": golden["request"]})
    return found


def recipes(directory: Path) -> dict[str, Request]:
    """One of each kind of job; their rows are a file of ``directory``."""
    rows = directory / "rows.jsonl"
    judged = {"prompt_id": 1, "scores": {"a": 1.0}, "oracles": {"b": 2.0}}
    rows.write_text(json.dumps({**judged, "prompt": PROMPT, "chosen": RESPONSES[0], "rejected": RESPONSES[1]}) + "\n")
    return {
        "training-jobs": {
            "kind": "reward_model",
            "name": "r",
            "backbone": {"architecture": "encoder", "scratch": {"hidden_size": 16, "layers": 1, "heads": 1}},
            "data": {"kind": "product_world", "size": 8},
        },
        "stress-tests": {
            "kind": "stress_test",
            "name": "s",
            "policy": {"path": "judge"},
            "prompts": {"kind": "product_world", "limit": 2},
            "scorers": ["judge"],
            "oracles": [{"kind": "product_world"}],
        },
        "audits": {"kind": "audit", "path": str(rows), "scorers": ["recorded:a"], "oracles": ["recorded:b"]},
        "win-rates": {"kind": "win_rate", "paths": [str(rows)]},
        "benchmarks": {"kind": "benchmark", "name": "b", "path": str(rows), "scorers": ["judge"]},
    }


def own_requests(directory: Path) -> dict[str, Request]:
    """Of the other operations that need more than ``addressed`` gives; ``directory`` is one the operator lists."""
    return {
        "POST /v1/scores": {"body": {"scorers": ["judge", "plain@1", DISCRIMINATOR], "items": ITEMS}},
        "POST /v1/comparisons": {"body": {"scorer": DISCRIMINATOR, "prompt": PROMPT, "responses": RESPONSES}},
        "POST /v1/attributions": {
            "body": {"scorer": "plain", "prompt": "lamp", "response": "the lamp is red", "constraints": ["red", "blue"]}
        },
        "GET /v1/comparisons/runs": {"query": {"a": RUN, "b": RUN, "scorer_a": "judge", "scorer_b": "plain"}},
        "POST /v1/artifacts": {"body": {"source": str(directory / "judge" / "1"), "name": "copy"}},
        "PUT /v1/aliases/{aliased}": {"body": {"version": 1}},
        "POST /v1/monitoring/forget": {"body": {"containing": RESPONSES[0], "dry_run": True}},  # else no alert is left
        **{f"POST /v1/{resource}": {"body": body} for resource, body in recipes(directory).items()},
    }


def addressed(method: str, path: str) -> dict[str, str]:
    """Path parameters of what exists: of a job, the one that succeeded where only that has something to show."""
    resource = path.split("/")[2] if path.count("/") > 2 else ""
    job = f"{KINDS[resource]}_1" if resource in KINDS else ""
    found = {
        "job_id": job,
        "run": RUN,
        "run_id": RUN if resource == "stress-tests" else job,
        "reference": SPARE if method == "DELETE" else "judge@1",
        "aliased": "judge@spare",
        "alert_id": "alert_1",
    }
    return {name: value for name, value in found.items() if f"{{{name}}}" in path}

"""A recipe from a request may name what the operator lists and what is registered, and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from evaluation.recipes import AnyRecipe, parse_recipe
from service.app import create_app
from service.db.keys import create_key
from service.db.session import writing
from service.jobs import submit
from service.places import Places
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, Forbidden, InvalidInput
from trainer.manifest import Artifact
from trainer.outside import Outside, outside, place_of

HARMLESS = {
    "labels",  # notes
    "name",  # checked as an artifact's, or a word in results
    "split",  # of the data set that `path` names
    "configuration",  # likewise
    "revision",  # of the hub's model that `path` names
    "target_modules",  # of the network
    "model",  # what a server calls it
    "options",  # of a request to a server that is listed
    "cluster",  # a column
    "baseline",  # of a win rate: a model's name in its files
    "reference",  # likewise
}


def fields_with_text(kind: Any, seen: set[type]) -> Iterator[tuple[str, str, str | None]]:
    """Model, field and place of each field of a recipe that could hold any text."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind in seen:
            return
        seen.add(kind)
        for name, field in kind.model_fields.items():
            if holds_text(field.annotation):
                yield kind.__name__, name, place_of(field.annotation, field.metadata)
            yield from fields_with_text(field.annotation, seen)
        return
    for part in get_args(kind):
        yield from fields_with_text(part, seen)


def holds_text(kind: Any) -> bool:
    literal = get_origin(kind) is not None and "Literal" in str(get_origin(kind))
    return kind is str or (not literal and any(holds_text(part) for part in get_args(kind)))


def test_every_text_of_every_recipe_says_what_it_names_or_is_known_to_name_nothing() -> None:
    found = list(fields_with_text(AnyRecipe, set()))
    unknown = [(model, name) for model, name, place in found if place is None and name not in HARMLESS]
    named = {(model, name): place for model, name, place in found if place is not None}

    assert unknown == [], "give these a type of trainer/outside.py"
    assert named["FileData", "path"] == "source"
    assert named["FileData", "validation"] == "split"
    assert named["TrainedPolicy", "path"] == "model"
    assert named["LLMJudgeOracle", "base_url"] == "server"
    assert named["LLMJudgeOracle", "cache"] == "file"
    assert named["LLMJudgeOracle", "baseline"] == "file"
    assert named["DownstreamRecipe", "tasks"] == "task"
    assert named["AuditRecipe", "oracles"] == "scorer"
    assert len(named) > 20


def test_texts_are_found_wherever_they_are_with_a_pointer() -> None:
    recipe = parse_recipe(
        stress(scorers=["a"], oracles=[{"kind": "llm_judge", "model": "m", "base_url": "http://x/v1"}])
    )

    assert ("/oracles/0/base_url", "server", "http://x/v1") in list(outside(recipe))
    assert ("/scorers/0", "scorer", "a") in list(outside(recipe))
    assert isinstance(Outside("file"), Outside)


def sft(**data: Any) -> dict[str, Any]:
    return {"kind": "sft", "name": "x", "policy": {"path": "./start"}, "data": {"kind": "file", **data}, "max_steps": 1}


def stress(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "stress_test",
        "policy": {"path": "HuggingFaceTB/SmolLM2-135M"},
        "prompts": {"kind": "product_world", "split": "test", "limit": 4},
        "oracles": [{"kind": "product_world"}],
        "name": "s",
        **changes,
    }


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    (tmp_path / "listed").mkdir()
    (tmp_path / "secret.jsonl").write_text("{}\n")
    file = tmp_path / "listed" / "rows.jsonl"
    file.write_text("{}\n")
    (tmp_path / "listed" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    return file


@pytest.fixture
def places(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.chdir(tmp_path / "listed")
    settings = Settings(
        runs_dir=tmp_path / "runs",
        allowed_roots=(tmp_path / "listed",),
        allowed_hub_ids=("HuggingFaceTB/*", "org/data"),
        allowed_urls=("http://10.0.0.5:8001/v1",),
    )
    return Places(settings, ArtifactStore(tmp_path / "artifacts"), {"coming"})


@pytest.mark.parametrize(
    "path", ["rows.jsonl", "./rows.jsonl", "nowhere.jsonl", "org/data", "../listed/rows.jsonl", "./saved"]
)
def test_rows_that_are_listed(places: Places, path: str) -> None:
    places.check(parse_recipe(sft(path=path)))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret.jsonl",
        "link.jsonl",
        "~/x.jsonl",
        "~nobody-here/x",
        "org/other",
        "a/../../secret.jsonl",
        "/" + "x" * 5000,
        "/proc/self/environ",
        "https://evil.example/rows.jsonl",
        "s3://bucket/rows.jsonl",
    ],
)
def test_rows_that_are_not(places: Places, path: str) -> None:
    with pytest.raises(Forbidden, match=r"/data/path: .*ASSAY_ALLOWED_ROOTS") as refused:
        places.check(parse_recipe(sft(path=path)))
    assert refused.value.pointer == "/data/path"


def test_held_out_rows_are_a_split_or_a_listed_file(places: Places) -> None:
    places.check(parse_recipe(sft(path="org/data", validation="test[:10%]")))
    places.check(parse_recipe(sft(path="rows.jsonl", validation="./rows.jsonl")))
    with pytest.raises(Forbidden, match="at /data/validation"):
        places.check(parse_recipe(sft(path="rows.jsonl", validation="/etc/passwd")))


@pytest.mark.parametrize(
    ("changes", "pointer", "kind"),
    [
        ({"policy": {"path": "elsewhere/model"}}, "/policy/path", Forbidden),
        ({"policy": {"path": "/srv/model"}}, "/policy/path", Forbidden),
        ({"policy": {"path": "nobody"}}, "/policy/path", InvalidInput),
        ({"policy": {"path": "coming/model"}}, "/policy/path", Forbidden),
        ({"policy": {"base_url": "http://169.254.169.254/latest", "model": "m"}}, "/policy/base_url", Forbidden),
        ({"policy": {"base_url": "http://10.0.0.5:8001/v10", "model": "m"}}, "/policy/base_url", Forbidden),
        ({"scorers": ["coming", "nobody"]}, "/scorers/1", InvalidInput),
        ({"oracles": [{"kind": "llm_judge", "model": "m"}]}, "/oracles/0/base_url", Forbidden),
        ({"oracles": [{"kind": "recorded", "path": "/etc/passwd"}]}, "/oracles/0/path", Forbidden),
        ({"prompts": {"kind": "file", "path": "/etc/passwd"}}, "/prompts/path", Forbidden),
    ],
)
def test_what_a_stress_test_may_not_name(
    places: Places, changes: dict[str, Any], pointer: str, kind: type[AssayError]
) -> None:
    with pytest.raises(kind, match=f"at {pointer}: ") as refused:
        places.check(parse_recipe(stress(**changes)))
    assert refused.value.pointer == pointer


def test_what_a_stress_test_may_name(places: Places) -> None:
    judge = {"kind": "llm_judge", "model": "m", "base_url": "http://10.0.0.5:8001/v1", "cache": "./replies"}
    places.check(parse_recipe(stress(scorers=["coming", "coming/discriminator:difference"], oracles=[judge])))
    places.check(parse_recipe(stress(policy={"path": "coming"})))
    places.check(parse_recipe(stress(policy={"base_url": "http://10.0.0.5:8001/v1/", "model": "m"})))
    with pytest.raises(Forbidden, match="cache"):
        places.check(parse_recipe(stress(oracles=[{**judge, "cache": "/tmp/elsewhere"}])))


def test_a_scorer_is_refused_for_an_output_that_its_artifact_does_not_give(
    places: Places, tmp_path: Path, publish: Callable[..., Artifact]
) -> None:
    publish(ArtifactStore(tmp_path / "artifacts"), "tiny", seed=1)
    places.check(parse_recipe(stress(scorers=["tiny", "tiny@1:score"])))
    with pytest.raises(InvalidInput, match="at /scorers/1: tiny@1 has no output 'wrong'; it gives score") as refused:
        places.check(parse_recipe(stress(scorers=["tiny", "tiny@1:wrong"])))
    assert refused.value.pointer == "/scorers/1"


def test_a_task_is_a_name_and_not_a_file_that_may_run_code(places: Places) -> None:
    recipe = {"kind": "downstream", "policy": {"path": "coming"}, "tasks": ["gsm8k", "/srv/task.yaml"]}
    with pytest.raises(Forbidden, match="at /tasks/1"):
        places.check(parse_recipe(recipe))


def test_a_request_is_refused_before_a_job_is_made_and_the_owner_is_not(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 0}))
    body = sft(path="/etc/passwd") | {"policy": {"path": "."}}
    with TestClient(app) as client:
        with writing(app.state.sessions) as session:
            key, _ = create_key(session, "root", ["admin"])
        headers = {"authorization": f"Bearer {key}"}
        for dry_run in ("", "?dry_run=true"):
            refused = client.post(f"/v1/training-jobs{dry_run}", json=body, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
            assert refused.json()["errors"][0]["pointer"] == "/data/path"
        assert client.get("/v1/training-jobs", headers=headers).json()["data"] == []

    with TestClient(create_app(settings.model_copy(update={"job_slots": 0}), owner=True)) as client:
        assert client.post("/v1/training-jobs", json=body).status_code == 202


def test_a_job_is_not_resumed_once_what_it_names_is_no_longer_listed(settings: Settings, rows: Path) -> None:
    """But for an audit of a sample, which the server queued itself and no request could have."""
    listed = settings.model_copy(update={"job_slots": 0, "allowed_roots": (rows.parent,)})
    sample = settings.runs_dir.absolute() / "monitoring" / "sample.jsonl"
    with TestClient(create_app(listed)) as client:
        posted = client.post("/v1/training-jobs", json=sft(path=str(rows)) | {"policy": {"path": str(rows.parent)}})
        job = posted.headers["location"]
        client.post(f"{job}/cancel")
        audit = {"kind": "audit", "name": "monitoring", "scorers": ["length"], "oracles": ["recorded:judge"]}
        assert client.post("/v1/audits", json={**audit, "path": str(sample)}).status_code == 403
        ours = submit(client.app.state.sessions, parse_recipe({**audit, "path": str(sample)}), listed)  # type: ignore[attr-defined]
        client.post(f"/v1/audits/{ours}/cancel")
        assert client.post(f"/v1/audits/{ours}/resume").status_code == 202
        assert client.post(f"{job}/resume").status_code == 202
        client.post(f"{job}/cancel")

    with TestClient(create_app(listed.model_copy(update={"allowed_roots": ()}))) as client:
        refused = client.post(f"{job}/resume")
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (403, "/data/path")
        assert "ASSAY_ALLOWED_ROOTS" in refused.json()["detail"]
        assert client.get(job).json()["status"] == "cancelled"
    with TestClient(create_app(listed.model_copy(update={"allowed_roots": ()}), owner=True)) as client:
        assert client.post(f"{job}/resume").status_code == 202

"""From training to an alert: a scorer's own validation data are what its served scores are compared with."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.db.monitored import states
from service.db.session import writing
from service.db.tables import MonitoredScorer, ServedScore
from service.jobs.kinds import parse_any_recipe
from service.monitoring.state import ScorerState
from service.monitoring.watch import Watch
from service.settings import Settings
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.sources import ProductWorldData
from trainer.run import run_recipe
from trainer.validation_scores import VALIDATION_FILE, ValidationScores

Sessions = sessionmaker[Session]
Keep = Callable[..., None]

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
WORLD = {"kind": "product_world", "size": 24, "validation_size": 150}
SHAPE = {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 96}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """``rm@1``, trained for a few steps and measured on 150 held-out prompts with two responses each."""
    root = tmp_path_factory.mktemp("trained")
    store = ArtifactStore(root / "artifacts")
    content = {
        **{"kind": "reward_model", "name": "rm", "backbone": {"scratch": SHAPE}, "data": WORLD, "max_steps": 8},
        **{"batch": {"size": 8}, "optimizer": {"learning_rate": 3e-2}},
    }
    run_recipe(parse_any_recipe(content), root / "run", store, quiet=True)
    return store


def validation_items() -> list[dict[str, Any]]:
    rows = ProductWorldData.model_validate(WORLD).preferences(held_out=True)
    return [{"prompt": row.sides[0].prompt, "responses": [side.response for side in row.sides]} for row in rows]


def shifted(item: dict[str, Any]) -> dict[str, Any]:
    """What a policy may come to: prompts too long for the scorer, and the same said twice."""
    prompt = f"{item['prompt']} | {' ; '.join(['color red'] * 40)}"
    return {"prompt": prompt, "responses": [f"{item['responses'][0]} {item['responses'][0]}"]}


@pytest.fixture
def monitor(settings: Settings, trained: ArtifactStore, make_session: Sessions) -> Callable[..., ScorerState]:
    """``monitor(items)``: serve these, keep all, look, and ask the API what is known."""

    def ask(items: list[dict[str, Any]]) -> ScorerState:
        changes = {"artifact_dir": trained.root, "job_slots": 0, "monitor_share": 1.0, "monitor_max_drift": 0.1}
        watched = settings.model_copy(update=changes)
        with TestClient(create_app(watched)) as client:
            body = {"scorers": ["rm"], "items": items, "on_overlong": "truncate_prompt"}
            answer = client.post("/v1/scores", json=body)
            assert answer.status_code == 200, answer.text
        Watch(watched, make_session, parse_any_recipe).look(datetime.now(UTC))
        with TestClient(create_app(watched)) as client:
            [state] = client.get("/v1/monitoring").json()["data"]
            assert "validation data" in client.get("/monitoring").text
        return ScorerState.model_validate(state)

    return ask


def test_validation_pairs_have_not_drifted_from_themselves_and_shifted_ones_have(
    monitor: Callable[..., ScorerState], make_session: Sessions
) -> None:
    items = validation_items()
    same = monitor(items)
    assert (same.reference_kind, same.rows) == ("validation", 300)
    assert same.reference.startswith("validation data, 300 responses to 1"), "some prompts of the world are alike"
    drift = same.drift
    assert drift is not None
    assert (drift.n_now, drift.n_reference) == (300, 300)
    # as served to 1e-4 or so, where a step of the distribution function is 1/300
    assert drift.score.distance.estimate == pytest.approx(0, abs=0.02)
    assert (drift.length.distance.estimate, drift.length.shift.estimate) == (0, 0)
    assert drift.truncated.estimate == 0
    assert drift.least() == {"score": 0.0, "length": 0.0, "truncated": 0.0}

    with writing(make_session) as session:
        session.execute(delete(ServedScore))
    moved = monitor([shifted(item) for item in items])
    assert moved.reference == same.reference
    drift = moved.drift
    assert drift is not None
    assert (drift.n_now, drift.n_reference) == (150, 300)
    assert drift.least()["length"] > 0.3
    assert (drift.length.shift.lower or 0) > 0, "longer"
    assert drift.truncated.estimate == 1
    assert drift.least()["score"] > 0.1
    assert drift.cut_now is not None
    assert drift.cut_now.estimate == 1


def publish(root: Path, scores: ValidationScores | None) -> None:
    def write(directory: Path) -> None:
        (directory / "config.json").write_text("{}")
        if scores is not None:
            scores.save(directory)

    contents = Contents(kind="reward_model", recipe={}, recipe_digest="", metrics={}, details={}, probes=[], parents=[])
    ArtifactStore(root).publish("rm", contents, write)


def known(session: Session) -> ScorerState:
    [state] = states(session)
    return ScorerState.model_validate(state)


SCORES = ValidationScores(
    prompt=[number // 2 for number in range(40)],
    characters=[10] * 40,
    cut=[False] * 40,
    scores={"score": [number / 40 for number in range(40)]},
)


def test_a_first_window_gives_way_to_validation_data_and_few_of_these_make_wide_intervals(
    settings: Settings, make_session: Sessions, keep: Keep
) -> None:
    watching = Watch(settings.model_copy(update={"monitor_share": 1.0}), make_session, parse_any_recipe)
    scorer = "rm@1:score"
    keep(1000, at=NOW - timedelta(days=5), score=lambda n: (n % 100) / 100, scorer=scorer)
    keep(400, at=NOW - timedelta(hours=1), score=lambda n: (n % 100) / 100, scorer=scorer)
    watching.look(NOW)
    with make_session() as session:
        first = known(session)
    assert (first.reference_kind, first.reference[:28]) == ("first_scores", "the first 1,000 scores kept,")

    publish(settings.artifact_dir, SCORES)
    watching.look(NOW)
    with make_session() as session:
        state, row = known(session), session.get_one(MonitoredScorer, scorer)
    assert (state.reference_kind, state.reference) == ("validation", "validation data, 40 responses to 20 prompts")
    assert row.reference is not None
    assert row.reference.keys() == {"prompt", "score", "characters", "cut"}
    assert first.drift is not None
    assert state.drift is not None
    wide, narrow = state.drift.score.distance, first.drift.score.distance
    assert (wide.upper or 0) > 2 * (narrow.upper or 1)

    # settled: kept also once the artifact is gone
    (settings.artifact_dir / "rm" / "1" / "manifest.json").unlink()
    watching.look(NOW)
    with make_session() as session:
        assert known(session).reference == state.reference


@pytest.mark.parametrize("case", ["older", "untrained", "changed"])
def test_without_validation_data_of_this_output_the_first_scores_are_what_is_compared_with(
    settings: Settings, make_session: Sessions, keep: Keep, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(settings.artifact_dir, None if case == "older" else SCORES)
    if case == "changed":
        (settings.artifact_dir / "rm" / "1" / VALIDATION_FILE).write_text("{}")
    scorer = "rm@1:untrained_0" if case == "untrained" else "rm@1:score"
    keep(1000, at=NOW - timedelta(days=5), scorer=scorer)
    Watch(settings.model_copy(update={"monitor_share": 1.0}), make_session, parse_any_recipe).look(NOW)
    with make_session() as session:
        assert known(session).reference_kind == "first_scores"
    assert ("was changed after publishing" in caplog.text) == (case == "changed")

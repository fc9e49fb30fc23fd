"""A training job asks for the memory that its network needs, and one that no server has is refused before it waits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from sqlalchemy.orm import Session, sessionmaker
from starlette.datastructures import State

from service.access import NOBODY
from service.db.session import writing
from service.db.tables import Job
from service.db.workers import register
from service.jobs.kinds import parse_any_recipe
from service.settings import Settings
from service.slots import Machine
from service.submission import queue
from trainer.errors import InvalidInput

RECIPE = {
    "kind": "sft",
    "name": "wide",
    "policy": {"scratch": {"hidden_size": 256, "layers": 4, "heads": 4, "max_tokens": 64}},
    "data": {"kind": "product_world", "size": 30, "validation_size": 8},
}


@pytest.fixture
def state(settings: Settings, make_session: sessionmaker[Session]) -> State:
    scoring, dispatcher = SimpleNamespace(artifacts=settings.open_artifacts()), SimpleNamespace(wake=lambda: None)
    return State({"settings": settings, "sessions": make_session, "scoring": scoring, "dispatcher": dispatcher})


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_the_estimate_of_a_recipe_is_its_jobs(
    state: State, settings: Settings, make_session: sessionmaker[Session]
) -> None:
    recipe = parse_any_recipe(RECIPE)
    with make_session() as session:
        needed = session.get_one(Job, queue(state, NOBODY, recipe)).memory_bytes
    assert needed is not None
    assert needed > 16 * 4 * 256 * 12 * 256  # weights, gradients and two moments of 4 layers of 12 h^2, in float32
    with writing(make_session) as session:
        register(session, "small", Machine(places=1, gpus=(), memory_bytes=needed - 1))
    with pytest.raises(InvalidInput, match=r"no server can carry this out: it needs about .* of memory"):
        queue(state, NOBODY, recipe)
    state.settings = settings.model_copy(update={"check_memory": False})
    queue(state, NOBODY, recipe)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_what_a_pass_would_keep_at_most_refuses_nothing(state: State, make_session: sessionmaker[Session]) -> None:
    large = {"scratch": {"hidden_size": 1024, "layers": 8, "heads": 8, "max_tokens": 2048}}
    with writing(make_session) as session:
        register(session, "one", Machine(places=1, gpus=(), memory_bytes=4 * 2**30))
    # 8 layers of 12 x 1024^2 weights, 16 bytes each, are 1.6 GB; the activations of 128 rows would be hundreds
    assert queue(state, NOBODY, parse_any_recipe({**RECIPE, "policy": large}))


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64, "intermediate_size": 32}


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("architecture", "fields", "known"),
    [
        ("qwen3_moe", SMALL, True),
        ("gemma3", {"text_config": SMALL}, True),
        ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64}, True),
        ("t5", {"d_model": 32, "num_layers": 1}, False),
    ],
)
def test_a_job_of_any_architecture_is_accepted(
    state: State,
    make_session: sessionmaker[Session],
    tmp_path: Path,
    architecture: str,
    fields: dict[str, Any],
    known: bool,
) -> None:
    transformers.AutoConfig.for_model(architecture, **fields).save_pretrained(tmp_path / "model")
    job_id = queue(state, NOBODY, parse_any_recipe({**RECIPE, "policy": {"path": str(tmp_path / "model")}}))
    with make_session() as session:
        assert (session.get_one(Job, job_id).memory_bytes is not None) == known

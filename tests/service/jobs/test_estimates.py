"""A training job asks for the memory that its network needs, and one that no server has is refused before it waits."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.datastructures import State

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


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_the_estimate_of_a_recipe_is_its_jobs(
    settings: Settings, make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    scoring, dispatcher = SimpleNamespace(artifacts=settings.open_artifacts()), SimpleNamespace(wake=lambda: None)
    state = State({"settings": settings, "sessions": make_session, "scoring": scoring, "dispatcher": dispatcher})
    recipe = parse_any_recipe(RECIPE)
    with make_session() as session:
        needed = session.get_one(Job, queue(state, recipe)).memory_bytes
    assert needed is not None
    assert needed > 16 * 4 * 256 * 12 * 256  # weights, gradients and two moments of 4 layers of 12 h^2, in float32
    with writing(make_session) as session:
        register(session, "small", Machine(places=1, gpus=(), memory_bytes=needed - 1))
    with pytest.raises(InvalidInput, match=r"no server can carry this out: it needs about .* of memory"):
        queue(state, recipe)
    state.settings = settings.model_copy(update={"check_memory": False})
    queue(state, recipe)

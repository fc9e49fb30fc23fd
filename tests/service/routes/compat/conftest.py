"""The routes of other servers' formats over real, tiny reward models."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.problems import add_problem_handlers
from service.routes import compat, scores
from service.scoring import ScoringService
from service.settings import Settings
from trainer.artifacts import Artifact, ArtifactStore


def compat_app(service: ScoringService, **settings: str) -> FastAPI:
    """The routes alone, without database, dispatcher or keys."""
    app = FastAPI()
    app.state.scoring = service
    app.state.settings = Settings(**settings)
    add_problem_handlers(app)
    app.include_router(scores.router)
    for router in compat.ROUTERS:
        app.include_router(router)
    return app


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory, publisher: Callable[..., Artifact]) -> ArtifactStore:
    """One scorer, ``judge@1``, calibrated at temperature 2; its window is 48 tokens. Leave it as it is."""
    store = ArtifactStore(tmp_path_factory.mktemp("lone"))
    publisher(store, "judge", seed=2, temperature=2.0)
    return store


@pytest.fixture(scope="session")
def client(lone: ArtifactStore) -> Iterator[TestClient]:
    """A client of the routes over ``lone``."""
    service = ScoringService(lone)
    with TestClient(compat_app(service)) as client:
        yield client
    service.close()


@pytest.fixture
def client_over() -> Iterator[Callable[..., TestClient]]:
    """``client_over(service_or_store, compat_scorer=...)``: a client over something else."""
    with ExitStack() as stack:

        def open_client(over: ArtifactStore | ScoringService, **settings: str) -> TestClient:
            service = over if isinstance(over, ScoringService) else ScoringService(over)
            stack.callback(service.close)
            return stack.enter_context(TestClient(compat_app(service, **settings)))

        yield open_client

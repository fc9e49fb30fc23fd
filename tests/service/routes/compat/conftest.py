"""The routes of other servers' formats over real, tiny reward models."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.routes import compat
from service.scoring import ScoringService
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

MakeApp = Callable[[ArtifactStore], FastAPI]


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory, publisher: Callable[..., Artifact]) -> ArtifactStore:
    """One scorer, ``judge@1``, calibrated at temperature 2; its window is 48 tokens. Leave it as it is."""
    store = ArtifactStore(tmp_path_factory.mktemp("lone"))
    publisher(store, "judge", seed=2, temperature=2.0)
    return store


@pytest.fixture(scope="session")
def client(lone: ArtifactStore, make_scoring_app: MakeApp) -> Iterator[TestClient]:
    """A client of the routes over ``lone``."""
    app = with_compat(make_scoring_app(lone))
    with TestClient(app) as client:
        yield client
    app.state.scoring.close()


@pytest.fixture
def client_over(make_scoring_app: MakeApp) -> Iterator[Callable[..., TestClient]]:
    """``client_over(service_or_store, compat_scorer=...)``: a client over something else."""
    with ExitStack() as stack:

        def open_client(over: ArtifactStore | ScoringService, **settings: str) -> TestClient:
            app = with_compat(make_scoring_app(over if isinstance(over, ArtifactStore) else over.artifacts), **settings)
            if isinstance(over, ScoringService):
                app.state.scoring = over
            stack.callback(app.state.scoring.close)
            return stack.enter_context(TestClient(app))

        yield open_client


def with_compat(app: FastAPI, **settings: str) -> FastAPI:
    """``app`` with the routes of other servers' formats."""
    app.state.settings = Settings(**settings)
    for router in compat.ROUTERS:
        app.include_router(router)
    compat.speak_around_routes(app)
    return app

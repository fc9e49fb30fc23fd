"""Real reward models, far too small to know anything, published where a server finds them."""

import gc
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import StaticPool, create_engine
from starlette.routing import BaseRoute

from benchmarks.ray_cluster import RayCluster, start_cluster
from service.access import Identify
from service.db.aliases import resolver
from service.db.session import sessions
from service.db.tables import Table
from service.keyring import Keyring
from service.metrics import Metrics
from service.monitoring.sampling import Sampler
from service.problems import add_problem_handlers
from service.routes import aliases, artifacts, attributions, comparisons, scorers, scores
from service.scoring import ScoringService, open_engine
from service.settings import Settings
from tests.object_store import environment, run_s3
from trainer.artifacts import ArtifactStore, Contents
from trainer.manifest import Artifact, Parent

LONGEST = (
    "docs/test_commands.py",
    "benchmarks/study/test_quick.py",
    "trainer/recipes/test_resuming.py",
    "service/test_end_to_end.py",
    "trainer/recipes/test_gapo.py",
    "trainer/processes/test_several.py",
    "trainer/storage/test_shared_artifacts.py",
)
"""Files of half a minute and more that would otherwise be among the last."""


def publish_reward_model(
    store: ArtifactStore,
    name: str,
    *,
    seed: int,
    temperature: float | None = None,
    parents: Sequence[Parent] = (),
    **details: Any,
) -> Artifact:
    """An encoder of two layers with random weights, its window 48 tokens; pointwise unless ``details`` say else."""
    # imported here, so that tests without models start without torch
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from trainer.data.product_world import make_tokenizer
    from trainer.data.rows import Pair
    from trainer.models.loading import make_probes
    from trainer.models.reward_model import RewardModel

    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        num_labels=1,
        initializer_range=1.0,
    )
    encoder = BertForSequenceClassification(config).eval()
    model = RewardModel(encoder, tokenizer, architecture="encoder", pooling="cls")
    contents = Contents(
        kind="reward_model",
        recipe={"kind": "reward_model", "name": name},
        recipe_digest="0" * 64,
        metrics={"accuracy": 0.5},
        details={
            **model.details(),
            "loss": "bce",
            "calibration": None if temperature is None else {"temperature": temperature},
            **details,
        },
        probes=make_probes(model, [Pair("product lamp", "The lamp is red .")]),
        parents=list(parents),
    )
    return store.publish(name, contents, model.save)


def publish_decoder(store: ArtifactStore, name: str) -> Artifact:
    """A decoder of two layers with random weights, its window of 160 tokens long enough for prompts worth sharing."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from trainer.data.product_world import make_tokenizer
    from trainer.data.rows import Pair
    from trainer.models.loading import make_probes
    from trainer.models.reward_model import RewardModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=160, num_labels=1, pad_token_id=tokenizer.pad_token_id, initializer_range=0.3,
    )  # fmt: skip
    decoder = LlamaForSequenceClassification(config).eval()
    model = RewardModel(decoder, tokenizer, architecture="decoder", pooling="last_token")
    probes = make_probes(model, [Pair("product lamp", "It is red .")])
    return store.publish(name, Contents("reward_model", {}, "", {}, model.details(), probes, []), model.save)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """``tiny@1``, ``tiny@2`` (calibrated at temperature 2) and ``family/other@1``. Leave it as it is."""
    store = ArtifactStore(tmp_path_factory.mktemp("artifacts"))
    publish_reward_model(store, "tiny", seed=1)
    publish_reward_model(store, "tiny", seed=2, temperature=2.0)
    publish_reward_model(store, "family/other", seed=3)
    return store


@pytest.fixture(scope="session")
def publisher() -> Callable[..., Artifact]:
    """As ``publish``, for fixtures that last."""
    return publish_reward_model


@pytest.fixture
def publish() -> Callable[..., Artifact]:
    """``publish(store, name, seed=...)``: another tiny reward model."""
    return publish_reward_model


@pytest.fixture(scope="session")
def scoring_routes(published: ArtifactStore) -> Iterator[FastAPI]:
    """The routes that score, over the published artifacts."""
    app = scoring_app(published)
    yield app
    app.state.scoring.close()


@pytest.fixture(scope="session")
def make_scoring_app() -> Callable[[ArtifactStore], FastAPI]:
    """Makes one over other artifacts; its service, ``app.state.scoring``, is whoever makes it to close."""
    return scoring_app


@pytest.fixture(scope="session")
def scoring_client(published: ArtifactStore) -> Iterator[TestClient]:
    """A client of the routes that score, over the published artifacts."""
    app = scoring_app(published)
    with TestClient(app) as client:
        yield client
    app.state.scoring.close()


def scoring_app(store: ArtifactStore) -> FastAPI:
    """The routes that score, over an empty database in memory and without a dispatcher."""
    app = FastAPI(routes=_scoring_routes())
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Table.metadata.create_all(engine)
    app.state.sessions = sessions(engine)
    opener = partial(open_engine, resolve_alias=resolver(app.state.sessions))
    app.state.scoring = ScoringService(store, opener)
    app.state.owner = True
    app.state.keyring = Keyring(app.state.sessions)
    app.state.metrics = Metrics(app.state.sessions)
    app.state.sampler = Sampler(Settings(), app.state.sessions)
    app.add_middleware(Identify)
    add_problem_handlers(app)
    return app


@cache
def _scoring_routes() -> list[BaseRoute]:
    """As in ``service.app``: read once for all applications."""
    everything = APIRouter()
    for resource in (scores, scorers, comparisons, attributions, aliases, artifacts):
        everything.include_router(resource.router)
    return everything.routes


@pytest.fixture
def client_of() -> Iterator[Callable[[ArtifactStore], TestClient]]:
    """``client_of(store)``: a client over other artifacts than the published ones."""
    with ExitStack() as stack:

        def open_client(store: ArtifactStore) -> TestClient:
            app = scoring_app(store)
            stack.callback(app.state.scoring.close)
            return stack.enter_context(TestClient(app))

        yield open_client


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a real S3-compatible server, which this process and its children find by their environment."""
    for package in ("s3fs", "moto", "flask_cors"):
        pytest.importorskip(package)
    with pytest.MonkeyPatch.context() as patch, run_s3() as address:
        for name, value in environment(address).items():
            patch.setenv(name, value)
        yield address


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A real cluster of one node with two processors; a test may add others and kill them."""
    pytest.importorskip("ray", reason="Ray is not installed: make ray")
    with start_cluster(head_cpus=2) as cluster:
        yield cluster


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``clock(module, monotonic=..., sleep=...)``: another clock for one module alone.

    A server that a test of another file has started may be at work in a thread of this process: an event loop that
    sees the clock jump back sleeps for as long as the machine is up.
    """

    def of(module: ModuleType, **functions: Callable[..., Any]) -> None:
        monkeypatch.setattr(module, "time", SimpleNamespace(**functions))

    return of


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports leave no garbage: looking for it took a sixth of their time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: a file that is left over at the end keeps one core, and the others are idle."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: looking through it again and again took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests also wait, for processes, disks and leases."""
    return (os.cpu_count() or 1) + 1

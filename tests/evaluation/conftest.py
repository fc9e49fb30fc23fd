"""A store of tiny published artifacts with random weights, one of each kind of scorer."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import nn

from evaluation.engine.scoring import ScoringEngine
from tests.ports import port_of, reserved
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.product_world import render_prompt, sample_examples
from trainer.data.rows import Pair
from trainer.manifest import Artifact, ArtifactKind, Parent
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.discriminators import TransformerDiscriminator
from trainer.models.loading import make_probes
from trainer.models.pair_model import PairModel
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.starting_point import BackboneOrigin, PolicyOrigin, Scratch

SHAPE = Scratch(hidden_size=16, layers=2, heads=2, max_tokens=96)


@pytest.fixture(scope="session")
def pairs() -> list[Pair]:
    """Prompts of the product world, each with a response that satisfies it."""
    return [Pair(render_prompt(each.task), each.response) for each in sample_examples("test", 12, seed=0)]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> ArtifactStore:
    """Holds ``policy`` (two versions, the second descending from the first), ``rm`` and ``discriminator``."""
    store = ArtifactStore(tmp_path_factory.mktemp("artifacts"))
    first = publish_policy(store, pairs, seed=0, parents=[])
    publish_policy(store, pairs, seed=1, parents=[first.as_parent("reference")])
    publish_reward_model(store, pairs)
    publish_discriminator(store, pairs, first)
    return store


@pytest.fixture(scope="module")
def engine(store: ArtifactStore) -> Iterator[ScoringEngine]:
    with ScoringEngine(store) as engine:
        yield engine


def publish_policy(store: ArtifactStore, pairs: list[Pair], seed: int, parents: list[Parent]) -> Artifact:
    policy, _ = PolicyOrigin(scratch=SHAPE).open(store, seed)
    policy.model.eval()
    reference, _ = PolicyOrigin(scratch=SHAPE).open(store, 0)
    scorer = PolicyScorer(policy, reference if parents else None)
    details = {**policy.details(), "beta": 0.1}
    return publish(store, "policy", "policy", policy.save, scorer, pairs, details, parents)


def publish_reward_model(store: ArtifactStore, pairs: list[Pair]) -> Artifact:
    model, _ = BackboneOrigin(scratch=SHAPE, match_features=True).open(store, seed=0)
    scale_up(model.model)
    details = {**model.details(), "loss": "bce", "calibration": {"temperature": 2.0}}
    return publish(store, "rm", "reward_model", model.save, model, pairs, details, [])


def publish_discriminator(store: ArtifactStore, pairs: list[Pair], reference: Artifact) -> Artifact:
    policy, _ = PolicyOrigin(path=reference.reference).open(store, 0)
    config = TransformerDiscriminator(width=16, layers=1, heads=2)
    torch.manual_seed(0)
    networks = {name: config.build(SHAPE.hidden_size) for name in ("chosen", "rejected")}
    model = DiscriminatorPair(policy, networks, {"chosen": (0.5, 2.0), "rejected": (0.25, 1.0)}, "response")
    details = {**model.details(), "calibration": {"center": 0.5, "temperature": 1.0}}
    parents = [reference.as_parent("reference")]

    def save(path: Path) -> None:
        model.save(path, config)

    return publish(store, "policy/discriminator", "discriminator", save, model, pairs, details, parents)


def publish(
    store: ArtifactStore,
    name: str,
    kind: ArtifactKind,
    save: Callable[[Path], None],
    model: PairModel,
    pairs: list[Pair],
    details: dict[str, Any],
    parents: list[Parent],
) -> Artifact:
    contents = Contents(kind, {}, "", {}, details, make_probes(model, pairs), parents)
    return store.publish(name, contents, save)


def scale_up(model: nn.Module) -> None:
    """Weights large enough for scores to differ by more than their rounding."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4)
    model.eval()


@dataclass(frozen=True)
class ServedModel:
    """A model that a real server serves."""

    base_url: str
    model: str


@pytest.fixture(scope="session")
def transformers_server(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """``transformers serve`` with the published policy, which writes nothing but chance."""
    model = str(store.open("policy").path)
    directory = tmp_path_factory.mktemp("serve")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(directory)}
    program = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", model, "--host", "127.0.0.1", "--device", "cpu"]
    with (
        reserved() as holder,
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--port", str(port_of(holder))], stdout=log, stderr=log, env=environment
        ) as process,
    ):
        address = f"http://127.0.0.1:{port_of(holder)}"
        try:
            while not _answers(f"{address}/health"):
                assert process.poll() is None, (directory / "log").read_text()
                time.sleep(0.2)
            yield ServedModel(f"{address}/v1", model)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False

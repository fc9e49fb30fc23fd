"""Publish a model that was trained elsewhere, after loading it the way it will be served."""

import shutil
from pathlib import Path
from typing import Any

import torch

from trainer.artifacts import (
    MANIFEST_FILE,
    Artifact,
    ArtifactKind,
    ArtifactStore,
    Contents,
    names_directory,
    read_artifact,
    refuse_pickled_weights,
)
from trainer.data.rows import Pair
from trainer.errors import InvalidInput
from trainer.hub import fetch_model, names_hub_model, pin_model
from trainer.models.loading import load_pair_model, make_probes
from trainer.models.pair_model import PairModel
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.reward_model import RewardModel
from trainer.models.reward_network import Architecture, Pooling

_PROBE = Pair("Name the capital of France.", "The capital of France is Paris.")


def import_model(
    store: ArtifactStore,
    source: str,
    name: str,
    *,
    kind: ArtifactKind | None = None,
    architecture: Architecture | None = None,
    pooling: Pooling | None = None,
) -> Artifact:
    """Publish an artifact's directory, or Hugging Face files whose ``kind`` (and ``architecture``) must be said: a
    directory, or ``owner/name[@COMMIT]`` on the hub where no such directory is here.

    Raises InvalidInput where that is missing, BrokenArtifact for pickles, for files that were changed, for weights that
    lack a head and for probes that score differently here, NotFound for what the hub does not give.
    """
    directory = Path(source).expanduser()
    if directory.is_dir():
        source = str(directory.resolve())
    else:
        if names_directory(source) or not names_hub_model(source):
            raise InvalidInput(f"no such directory: {source}; a model on the hub is written OWNER/NAME")
        source = pin_model(source, None)
        directory = fetch_model(source, None)
    if (directory / MANIFEST_FILE).is_file():
        return _import_artifact(store, read_artifact(directory), name)
    refuse_pickled_weights(directory)
    if kind == "policy":
        policy = Policy.load(directory)
        details = {"max_tokens": policy.max_tokens, "template_hash": policy.format.template_hash}
        return store.publish(name, _contents(kind, source, details, PolicyScorer(policy)), policy.save)
    if kind == "reward_model" and architecture is not None:
        model = _load_reward_model(directory, architecture, pooling)
        details = {**model.details(), "calibration": None}
        return store.publish(name, _contents(kind, source, details, model), model.save)
    raise InvalidInput(
        f"{source} has no {MANIFEST_FILE} to say what it is: "
        "add --kind policy, or --kind reward_model --architecture encoder|decoder"
    )


def _import_artifact(store: ArtifactStore, artifact: Artifact, name: str) -> Artifact:
    """Publish under ``name`` with everything its manifest says; its parents must be published here already."""
    load_pair_model(artifact, store, torch.device("cpu"))
    manifest = artifact.manifest
    contents = Contents(
        kind=manifest.kind,
        recipe=manifest.recipe,
        recipe_digest=manifest.recipe_digest,
        metrics=manifest.metrics,
        details=manifest.details,
        probes=manifest.probes,
        parents=manifest.parents,
        data_digest=manifest.data_digest,
        data_counts=manifest.data_counts,
    )

    def copy(staging: Path) -> None:
        for file in manifest.files:
            (staging / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / file, staging / file)

    return store.publish(name, contents, copy)


def _load_reward_model(directory: Path, architecture: Architecture, pooling: Pooling | None) -> RewardModel:
    described = {
        "architecture": architecture,
        "pooling": pooling or ("cls" if architecture == "encoder" else "last_token"),
        "match_features": False,
        "max_tokens": None,
    }
    model = RewardModel.load(directory, described)
    if (labels := model.model.config.num_labels) != 1:
        raise InvalidInput(f"{directory} classifies into {labels} labels; a reward model has one score")
    return model


def _contents(kind: ArtifactKind, source: str, details: dict[str, Any], model: PairModel) -> Contents:
    return Contents(
        kind=kind,
        recipe={"kind": "import", "source": source},
        recipe_digest="",
        metrics={},
        details=details,
        probes=make_probes(model, [_PROBE]),
        parents=[],
    )

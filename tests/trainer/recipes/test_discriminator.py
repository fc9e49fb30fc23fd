"""Discriminators alone: trained against a policy, as a probe, or drawn at random; published as what loads."""

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.trained import metrics_of
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput, Stopped
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.discriminators import MLPDiscriminator
from trainer.models.latents import Latents
from trainer.models.loading import load_pair_model
from trainer.models.outputs import PLAYERS, outputs_on
from trainer.recipes import parse_recipe
from trainer.recipes.discriminator_learners import Probed
from trainer.reporting import STOP_FILE, Reporter, read_events
from trainer.run import run_recipe

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2}
DATA = {"kind": "product_world", "size": 64, "validation_size": 24}
QUICK = {"batch": {"size": 8}, "max_steps": 4, "data": DATA}
SMALL = {"kind": "mlp", "width": 16}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """``base``, ``drifted``, which was trained further, and ``wide``, of another size."""
    root = tmp_path_factory.mktemp("discriminator")
    store = ArtifactStore(root / "artifacts")
    sft = {**QUICK, "kind": "sft", "optimizer": {"learning_rate": 1e-3}}
    for name, policy in [
        ("base", {"scratch": SHAPE}),
        ("drifted", {"path": "base"}),
        ("wide", {"scratch": {**SHAPE, "hidden_size": 48}}),
    ]:
        run_recipe(parse_recipe({**sft, "name": name, "policy": policy}), root / name, store, quiet=True)
    return store


def train(store: ArtifactStore, directory: Path, **fields: Any) -> tuple[dict[str, Any], DiscriminatorPair]:
    content = {**QUICK, "kind": "discriminator", "name": "made", "reference": {"path": "base"}, "discriminator": SMALL}
    result = run_recipe(parse_recipe({**content, **fields}), directory, store, quiet=True)
    model = load_pair_model(store.open(result["artifacts"]["discriminator"]), store, torch.device("cpu"))
    assert isinstance(model, DiscriminatorPair)
    return result, model


def test_discriminators_of_a_drifted_policy(store: ArtifactStore, tmp_path: Path) -> None:
    result, model = train(store, tmp_path / "run", policy={"path": "drifted"}, game={"mask": "prompt_and_response"})
    assert result["steps"] == 4
    assert model.outputs == outputs_on(PLAYERS, policy_known=True)
    assert model.mask == "prompt_and_response"
    assert "held_out/chosen/accuracy" in result["metrics"]
    assert store.open("made").manifest.parents[0].name == "base"
    assert not (tmp_path / "run" / "features").exists()
    assert "discriminator/chosen/auc_reference_policy" in metrics_of(tmp_path / "run")[-1]


def test_a_probe_learns_the_preference_from_the_references_latents_alone(store: ArtifactStore, tmp_path: Path) -> None:
    fields = {"loss": "bradley_terry", "discriminator": {"kind": "linear"}, "optimizer": {"learning_rate": 0.1}}
    result, model = train(store, tmp_path / "run", max_steps=60, **fields)
    assert model.outputs == ("chosen",)
    losses = [values["loss"] for values in metrics_of(tmp_path / "run")]
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    assert result["metrics"].keys() == {"held_out/chosen/accuracy"}


@pytest.mark.parametrize(("steps", "warned"), [(1, True), (60, False)])
def test_a_discriminator_close_to_chance_is_called_so(
    steps: int, warned: bool, store: ArtifactStore, tmp_path: Path
) -> None:
    fields = {"loss": "bradley_terry", "discriminator": {"kind": "linear"}, "optimizer": {"learning_rate": 0.1}}
    result, _ = train(store, tmp_path / "run", max_steps=steps, **fields)
    assert (result["metrics"]["held_out/chosen/accuracy"] < 0.55) == warned
    said = [event["text"] for event in read_events(tmp_path / "run") if event["type"] == "message"]
    assert any("close to chance" in text for text in said) == warned


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view:UserWarning")  # nobody writes to it
def test_a_sharded_probe_iterates_its_norms_as_a_whole_one_does(tmp_path: Path) -> None:
    """As FSDP has it, between forwards a process holds pieces of the weights, with which nothing can be computed."""
    torch.manual_seed(0)
    whole = Probed(MLPDiscriminator(width=16).build(8))
    sharded = copy.deepcopy(whole)
    latents = Latents(torch.randn(4, 3, 8), torch.ones(4, 3, dtype=torch.bool))
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
        logits = [network(latents, last=True).detach() for network in (whole, sharded)]
    finally:
        distributed.destroy_process_group()
    assert (logits[0] - logits[1]).abs().max() <= 1e-6


def test_random_controls_share_an_artifact_and_differ(store: ArtifactStore, tmp_path: Path) -> None:
    random = {"kind": "random", "of": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2}}
    result, model = train(store, tmp_path / "run", discriminator=random, copies=3)
    assert result["steps"] == 0
    assert model.outputs == ("random_0", "random_1", "random_2")
    encoded = [model.encode("product mug | color red", text) for text in ("color is red .", "color is blue .")]
    alone = torch.cat([model.score([row]) for row in encoded])
    assert (alone - model.score(encoded)).abs().max() <= 1e-5
    assert len({round(value, 6) for value in alone[0].tolist()}) == 3


def test_a_reference_from_a_directory_becomes_an_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    origin = {"path": str(store.open("base").path)}
    train(store, tmp_path / "run", name="outside", loss="bradley_terry", reference=origin)
    assert [parent.name for parent in store.open("outside").manifest.parents] == ["outside/reference"]


@pytest.mark.parametrize("fields", [{"policy": {"path": "drifted"}}, {"loss": "bradley_terry"}])
def test_a_stopped_run_continues_to_the_same_weights(
    fields: dict[str, Any], store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**fields, "max_steps": 6}
    _, straight = train(store, tmp_path / "straight", **fields)
    metrics = Reporter.metrics

    def stop(self: Reporter, stage: str, step: int, values: Mapping[str, float]) -> None:
        metrics(self, stage, step, values)
        (self.directory / STOP_FILE).touch()

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "metrics", stop)
        for _ in range(2):
            with pytest.raises(Stopped):
                train(store, tmp_path / "stopped", **fields)
    _, resumed = train(store, tmp_path / "stopped", **fields)
    ours, theirs = resumed.networks.state_dict(), straight.networks.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give policy, or loss bradley_terry"),
        ({"loss": "bradley_terry", "policy": {"path": "drifted"}}, "nothing here looks at a policy"),
        ({"discriminator": {"kind": "mse"}}, "'mse' is not one of|does not match any"),
    ],
)
def test_what_cannot_be_trained_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = {**QUICK, "kind": "discriminator", "name": "made", "reference": {"path": "base"}}
    with pytest.raises(InvalidInput, match=message):
        parse_recipe({**content, **fields})


def test_policy_and_reference_must_be_of_one_kind(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="must share hidden size"):
        train(store, tmp_path / "run", policy={"path": "wide"})


def test_ganpo_with_the_distance_publishes_no_discriminator(store: ArtifactStore, tmp_path: Path) -> None:
    content = {**QUICK, "kind": "ganpo", "name": "near", "policy": {"path": "base"}}
    moving = {"learning_rate": 1e-3, "warmup_fraction": 0.0}
    recipe = parse_recipe({**content, "adversarial": {"discriminator": {"kind": "mse"}}, "optimizer": moving})
    result = run_recipe(recipe, tmp_path / "run", store, quiet=True)
    assert result["artifacts"].keys() == {"policy"}
    told = metrics_of(tmp_path / "run")
    assert told[0]["adversarial_loss"] == pytest.approx(0.0, abs=1e-6)  # nothing has moved yet
    assert told[-1]["adversarial_loss"] > 1e-6


def test_ganpo_over_single_judged_responses_measures_its_discriminators_by_auc(
    store: ArtifactStore, tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"product mug | color {color}", "response": f"color is {said} .", "label": color == said}
        for color in ("red", "blue", "green")
        for said in ("red", "blue", "green", "black")
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = {**QUICK, "kind": "ganpo", "name": "judged", "policy": {"path": "base"}, "objective": {"kind": "kto"}}
    fields = {"data": {"path": str(file)}, "adversarial": {"discriminator": SMALL}, "batch": {"size": 6, "micro": 2}}
    result = run_recipe(parse_recipe({**content, **fields}), tmp_path / "run", store, quiet=True)
    assert 0 <= result["metrics"]["discriminator/train/chosen/auc"] <= 1
    assert all(math.isfinite(value) for value in metrics_of(tmp_path / "run")[-1].values())
    model = load_pair_model(store.open("judged/discriminator"), store, torch.device("cpu"))
    assert model.outputs == outputs_on(PLAYERS, policy_known=True)

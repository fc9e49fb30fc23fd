"""Every training recipe runs for real on the product-description world, resumes exactly and publishes what loads."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from trainer.artifacts import ArtifactStore
from trainer.data.sources import ProductWorldData
from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound, StorageFailure
from trainer.models.loading import load_pair_model
from trainer.recipe import apply_overrides
from trainer.recipes import parse_recipe
from trainer.reporting import read_events
from trainer.run import read_result, run_recipe
from trainer.validation_scores import read_validation_scores

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2}
DATA = {"kind": "product_world", "size": 64, "validation_size": 24}
QUICK = {"batch": {"size": 8}, "max_steps": 6, "checkpoint": {"every_steps": 2}, "optimizer": {"learning_rate": 1e-3}}
RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"kind": "sft", "policy": {"scratch": SHAPE}},
    "preference": {"kind": "preference", "policy": {"path": "base"}},
    "simpo": {"kind": "preference", "policy": {"path": "base"}, "objective": {"kind": "simpo", "beta": 2.0}},
    "ganpo": {
        "kind": "ganpo",
        "policy": {"path": "base"},
        "adversarial": {"discriminator": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2}},
    },
    "encoder": {"kind": "reward_model", "backbone": {"scratch": SHAPE, "match_features": True}},
    "decoder": {"kind": "reward_model", "backbone": {"path": "base", "architecture": "decoder"}, "loss": "bce"},
}


def recipe(preset: str, **changes: Any) -> Any:
    return parse_recipe({**QUICK, "data": DATA, "name": preset, **RECIPES[preset], **changes})


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    root = tmp_path_factory.mktemp("recipes")
    store = ArtifactStore(root / "artifacts")
    base = parse_recipe({**QUICK, "data": DATA, "name": "base", **RECIPES["sft"]})
    run_recipe(base, root / "base", store, quiet=True)
    return store


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_publishes_artifacts_that_load_and_score(name: str, store: ArtifactStore, tmp_path: Path) -> None:
    result = run_recipe(recipe(name), tmp_path / "run", store, quiet=True)
    assert result["steps"] == 6
    assert read_result(tmp_path / "run") == {"status": "succeeded", "result": result, "error": None}
    for reference in result["artifacts"].values():
        artifact = store.open(reference)
        model = load_pair_model(artifact, store, torch.device("cpu"))
        assert len(artifact.manifest.probes) == 4
        assert {model.outputs[0]} <= artifact.manifest.probes[0].scores.keys() <= set(model.outputs)
        assert artifact.manifest.job == (tmp_path / "run" / "id").read_text().strip()
        assert artifact.manifest.data_digest


def test_a_fine_tuned_policy_carries_what_it_says_of_the_responses_that_were_held_out(store: ArtifactStore) -> None:
    found = read_validation_scores(store.open("base"))
    assert found is not None
    pairs = ProductWorldData.model_validate(DATA).pairs(held_out=True)
    model = load_pair_model(store.open("base"), store, torch.device("cpu"))
    served = model.score([model.encode(pair.prompt, pair.response) for pair in pairs], ["mean_logprob"])[:, 0]
    assert sorted(found.scores["mean_logprob"]) == pytest.approx(sorted(served.tolist()), abs=1e-4)
    assert sorted(found.characters) == sorted(len(pair.response) for pair in pairs)


def test_a_resumed_recipe_keeps_the_parent_it_began_with(store: ArtifactStore, tmp_path: Path) -> None:
    def publish(seed: int) -> str:
        made = run_recipe(recipe("sft", name="moving", seed=seed), tmp_path / f"parent-{seed}", store, quiet=True)
        return str(made["artifacts"]["policy"])

    first = publish(1)
    child, directory = recipe("preference", name="child", policy={"path": "moving"}), tmp_path / "run"
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "checkpoints" / ".staging").touch()  # in the way of the first checkpoint
    with pytest.raises(StorageFailure):
        run_recipe(child, directory, store, quiet=True)
    (directory / "checkpoints" / ".staging").unlink()
    assert publish(2) != first
    resumed = run_recipe(child, directory, store, quiet=True)["artifacts"]["policy"]
    assert [f"{parent.name}@{parent.version}" for parent in store.open(resumed).manifest.parents] == [first]


def test_a_run_that_succeeded_is_not_run_again(store: ArtifactStore, tmp_path: Path) -> None:
    first = run_recipe(recipe("sft", name="twice"), tmp_path / "run", store, quiet=True)
    assert run_recipe(recipe("sft", name="twice"), tmp_path / "run", store, quiet=True) == first
    assert len(store.versions("twice")) == 1


def test_a_directory_that_belongs_to_a_recipe_of_another_kind_is_left_alone(
    store: ArtifactStore, tmp_path: Path
) -> None:
    run_recipe(recipe("sft", name="alike"), tmp_path / "run", store, quiet=True)
    with pytest.raises(Conflict, match="belongs to another recipe"):
        run_recipe(recipe("encoder", name="alike"), tmp_path / "run", store, quiet=True)


def test_directories_of_one_name_are_different_runs(store: ArtifactStore, tmp_path: Path) -> None:
    made = [
        run_recipe(recipe("sft", name="homonym", seed=seed), tmp_path / str(seed) / "run", store, quiet=True)
        for seed in (1, 2)
    ]
    assert [each["artifacts"]["policy"] for each in made] == ["homonym@1", "homonym@2"]


def test_events_number_without_gaps_across_attempts(store: ArtifactStore, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with pytest.raises(NotFound):
        run_recipe(recipe("preference", policy={"path": "nobody"}), directory, store, quiet=True)
    with pytest.raises(NotFound):
        run_recipe(recipe("preference", policy={"path": "nobody"}), directory, store, quiet=True)
    events = read_events(directory)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["attempt"] for event in events if event["type"] == "started"] == [1, 2]
    assert events[-1]["type"] == "failed"


def test_a_changed_weight_fails_the_digest_and_a_changed_template_fails_the_probes(
    store: ArtifactStore, tmp_path: Path
) -> None:
    result = run_recipe(recipe("decoder", name="victim"), tmp_path / "run", store, quiet=True)
    artifact = store.open(result["artifacts"]["reward_model"])
    weights = artifact.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BrokenArtifact, match=r"model\.safetensors was changed"):
        load_pair_model(artifact, store, torch.device("cpu"))
    content[-1] ^= 1
    weights.write_bytes(content)
    manifest = artifact.path / "manifest.json"
    told = json.loads(manifest.read_text())
    told["probes"][0]["scores"]["score"] += 0.5
    manifest.write_text(json.dumps(told))
    with pytest.raises(BrokenArtifact, match="a probe pair scores"):
        load_pair_model(store.open(artifact.reference), store, torch.device("cpu"))


@pytest.mark.parametrize(
    ("content", "pointer", "message"),
    [
        ({"kind": "sft", "name": "x", "data": DATA, "policy": {"path": "a"}, "oops": 1}, "/oops", "unknown field"),
        ({"kind": "nope", "name": "x"}, "", "nope"),
        ({"name": "x"}, "", "kind"),
        ({"kind": "sft", "name": "../x", "data": DATA, "policy": {"path": "a"}}, "/name", "a name is letters"),
        ({"kind": "sft", "name": "x" * 65, "data": DATA, "policy": {"path": "a"}}, "/name", "three parts of up to 64"),
        ({"kind": "sft", "name": "x", "data": DATA, "policy": {}}, "/policy", "give either path or scratch"),
        ({"kind": "sft", "name": "x", "policy": {"path": "a"}}, "/data", "required"),
        (
            {"kind": "sft", "name": "x", "data": DATA, "policy": {"path": "a", "dtype": "float16"}},
            "/policy/dtype",
            "Input should be 'float32' or 'bfloat16'",
        ),
        (
            {"kind": "sft", "name": "x", "data": {**DATA, "size": 0}, "policy": {"path": "a"}},
            "/data/size",
            "greater than or equal to 1",
        ),
    ],
)
def test_a_wrong_recipe_points_at_its_field(content: dict[str, Any], pointer: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_recipe(content)
    assert caught.value.pointer == pointer
    assert "\n" not in caught.value.detail


def test_all_that_is_wrong_is_told_a_misspelt_field_first() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_recipe({"kind": "gapo", "name": "x", "data": 3, "polic": {}, "generated_label": 0.0})

    assert caught.value.detail == "recipe at /polic: unknown field; remove it or check its spelling (and 4 more)"
    assert caught.value.complaints == (
        ("/polic", "unknown field; remove it or check its spelling"),
        ("/policy", "Field required"),
        ("/data", "expected an object with fields of its own"),
        ("/reward_model", "Field required"),
        ("/generated_label", "expected an object with fields of its own"),
    )


def test_overrides_reach_nested_fields() -> None:
    changed = apply_overrides({"data": {"size": 1}}, ["data.size=5", "optimizer.learning_rate=1e-3", "name=x"])
    assert changed == {"data": {"size": 5}, "optimizer": {"learning_rate": "1e-3"}, "name": "x"}
    with pytest.raises(InvalidInput, match=r"write dotted\.key=value"):
        apply_overrides({}, ["oops"])
    with pytest.raises(InvalidInput, match=r"override 'name=\[': \[ is not a YAML value"):
        apply_overrides({}, ["name=["])


def test_overrides_leave_what_they_change_alone_and_keep_what_json_has_not() -> None:
    content = {"labels": {"day": datetime.date(2026, 1, 2)}}
    assert apply_overrides(content, ["labels.who=me"]) == {"labels": {"day": datetime.date(2026, 1, 2), "who": "me"}}
    assert content == {"labels": {"day": datetime.date(2026, 1, 2)}}


def test_where_a_run_happens_does_not_change_its_digest() -> None:
    assert recipe("sft").digest() == recipe("sft", launch={"threads": 2}, labels={"who": "me"}).digest()
    assert recipe("sft").digest() != recipe("sft", seed=1).digest()


def test_file_rows_that_are_wrong_name_line_and_field(store: ArtifactStore, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"prompt": "product mug", "chosen": "color is red .", "rejected": "."}\n{"prompt": "x", "chosen": 3}\n'
    )
    with pytest.raises(InvalidInput, match=r"rows\.jsonl, line 2, field 'chosen': expected a string"):
        run_recipe(recipe("encoder", data={"path": str(rows)}), tmp_path / "run", store, quiet=True)


def test_a_directory_that_is_called_like_an_artifact_is_not_it(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some" / "policy").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no artifact some/policy"):
        run_recipe(recipe("preference", policy={"path": "some/policy"}), tmp_path / "run", store, quiet=True)


def test_a_policy_cannot_start_from_a_reward_model(store: ArtifactStore, tmp_path: Path) -> None:
    run_recipe(recipe("encoder", name="a-reward-model"), tmp_path / "a", store, quiet=True)
    with pytest.raises(InvalidInput, match="is a reward_model, not a policy"):
        run_recipe(recipe("sft", policy={"path": "a-reward-model"}), tmp_path / "b", store, quiet=True)


def test_every_documented_field_of_a_ganpo_recipe_is_known() -> None:
    written = """
        kind: ganpo
        name: my-policy
        seed: 0
        policy: {path: base, dtype: float32, lora: null}
        data: {path: rows.jsonl, split: train, validation: held_out.jsonl, max_prompt_tokens: 1800,
               max_response_tokens: 248}
        objective: {kind: dpo, beta: 0.1}
        adversarial: {weight: 1.0, discriminator: {kind: transformer, width: 512, layers: 2, heads: 8},
                      loss: non_saturating, quad: true, decay: 0.9, learning_rate: 1.0e-4}
        optimizer: {learning_rate: 5.0e-7, schedule: cosine, warmup_fraction: 0.1, weight_decay: 0.0,
                    max_grad_norm: 1.0}
        batch: {size: 128, micro: 2}
        epochs: 1
        checkpoint: {every_steps: 100}
        launch: {processes: 1, gpus_per_process: 0, executor: {}}
    """
    content = yaml.safe_load(written)
    assert parse_recipe(content).model_dump(mode="json", exclude_unset=True) == content


def test_a_store_that_cannot_be_written_fails_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailure, match="cannot write"):
        run_recipe(recipe("sft"), tmp_path / "run", ArtifactStore(tmp_path / "file"), quiet=True)
    assert not [event for event in read_events(tmp_path / "run") if event["type"] == "metrics"]

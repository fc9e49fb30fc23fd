"""A path is an artifact first, then a model on the hub; what is on the hub is pinned and never code or a pickle."""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from trainer.artifacts import ArtifactStore, Contents
from trainer.data.product_world import make_tokenizer
from trainer.errors import BrokenArtifact, NotFound
from trainer.models.policy import Policy
from trainer.models.starting_point import BackboneOrigin, PolicyOrigin, Scratch, TrainedPolicy
from trainer.pins import PINS_FILE
from trainer.recipe import Run
from trainer.reporting import Reporter

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHAPE = Scratch(hidden_size=16, layers=1, heads=2, max_tokens=64)


@pytest.fixture(autouse=True)
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache of our own and no connection: what a machine has that fetched its models before."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


def scratch(seed: int) -> Policy:
    return PolicyOrigin(scratch=SHAPE).open(ArtifactStore(Path("unused")), seed)[0]


def fetched(cache: Path, owner_name: str, policy: Policy) -> Path:
    """Put ``policy`` where the hub's client keeps what it downloaded."""
    root = cache / f"models--{owner_name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    policy.save(root / "snapshots" / COMMIT)
    return root / "snapshots" / COMMIT


def publish(store: ArtifactStore, name: str, policy: Policy) -> None:
    store.publish(name, Contents("policy", {}, "", {}, {}, [], []), policy.save)


def first_weight(policy: Policy) -> torch.Tensor:
    return next(policy.model.parameters()).detach()


def test_a_name_is_an_artifact_before_it_is_a_hub_model(store: ArtifactStore, offline_cache: Path) -> None:
    fetched(offline_cache, "somebody/model", scratch(1))
    policy, artifact = TrainedPolicy(path="somebody/model").open(store, seed=0)
    assert artifact is None
    assert torch.equal(first_weight(policy), first_weight(scratch(1)))
    publish(store, "somebody/model", scratch(2))
    policy, artifact = TrainedPolicy(path="somebody/model").open(store, seed=0)
    assert artifact is not None
    assert torch.equal(first_weight(policy), first_weight(scratch(2)))


def test_a_run_keeps_the_commit_it_began_with(store: ArtifactStore, offline_cache: Path, tmp_path: Path) -> None:
    fetched(offline_cache, "somebody/model", scratch(1))
    directory = tmp_path / "run"
    directory.mkdir()
    with Reporter(directory, title="", quiet=True) as reporter:
        run = Run("run", directory, store, reporter)
        settled = TrainedPolicy(path="somebody/model", revision="main").settled(run)
        assert settled.path == f"somebody/model@{COMMIT}"
        assert json.loads((directory / PINS_FILE).read_text()) == {"somebody/model": settled.path}
        newer = offline_cache / "models--somebody--model" / "refs" / "main"
        newer.write_text("f" * 40)
        policy, _ = TrainedPolicy(path="somebody/model", revision="main").settled(run).open(store, seed=0)
    assert torch.equal(first_weight(policy), first_weight(scratch(1)))


def test_a_hub_model_becomes_the_backbone_of_a_reward_model(store: ArtifactStore, offline_cache: Path) -> None:
    fetched(offline_cache, "somebody/model", scratch(1))
    model, _ = BackboneOrigin(path="somebody/model", architecture="decoder").open(store, seed=0)
    assert torch.equal(next(model.model.parameters()), first_weight(scratch(1)))


def test_what_is_neither_is_refused_in_one_line_that_says_both(store: ArtifactStore) -> None:
    with pytest.raises(
        NotFound, match=r"^no artifact nobody/nothing, and the Hugging Face hub gives no model "
    ) as caught:
        TrainedPolicy(path="nobody/nothing").open(store, seed=0)
    assert "\n" not in caught.value.detail
    with pytest.raises(NotFound, match=r"^no artifact nothing; `assay artifacts list` shows what exists$"):
        TrainedPolicy(path="nothing").open(store, seed=0)
    with pytest.raises(NotFound, match=r"^no artifact nobody/nothing@3; "):  # a version is an artifact's
        TrainedPolicy(path="nobody/nothing@3").open(store, seed=0)


def test_pickled_weights_from_the_hub_are_refused(store: ArtifactStore, offline_cache: Path) -> None:
    files = fetched(offline_cache, "somebody/model", scratch(1))
    torch.save({}, files / "pytorch_model.bin")
    origins = [TrainedPolicy(path="somebody/model"), BackboneOrigin(path="somebody/model", architecture="decoder")]
    for origin in origins:
        with pytest.raises(BrokenArtifact, match="is a pickle, which runs code when opened"):
            origin.open(store, seed=0)


@pytest.mark.parametrize("origin", [{"path": "./here"}, {"path": "name"}, {"path": "a/b@1"}, {"scratch": SHAPE}])
def test_only_a_hub_model_has_a_revision(origin: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="only a model on the Hugging Face hub"):
        PolicyOrigin.model_validate({**origin, "revision": "main"})


def test_bfloat16_is_what_training_computes_in_and_not_what_weights_are(store: ArtifactStore) -> None:
    origin = TrainedPolicy(scratch=SHAPE, dtype="bfloat16")
    assert origin.compute_dtype == torch.bfloat16
    assert TrainedPolicy(scratch=SHAPE).compute_dtype == torch.float32
    assert first_weight(origin.open(store, seed=0)[0]).dtype == torch.float32


def encoder_with_labels(labels: int, directory: Path) -> BertForSequenceClassification:
    tokenizer = make_tokenizer()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=labels, **shape))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return model


@pytest.mark.parametrize(("labels", "kept"), [(1, True), (3, False)])
def test_a_classifiers_head_is_kept_if_it_is_one_score(
    labels: int, kept: bool, store: ArtifactStore, tmp_path: Path
) -> None:
    theirs = encoder_with_labels(labels, tmp_path / "model").state_dict()
    first, second = (BackboneOrigin(path=str(tmp_path / "model")).open(store, 0)[0].model for _ in range(2))
    assert (first.config.num_labels, tuple(first.classifier.weight.shape)) == (1, (1, 16))
    assert torch.equal(first.classifier.weight, second.classifier.weight)  # of the seed
    ours = first.state_dict()
    assert len(ours) > 10
    same = [name for name in ours if ours[name].shape == theirs[name].shape and torch.equal(ours[name], theirs[name])]
    assert {*ours} - {*same} == (set() if kept else {"classifier.weight", "classifier.bias"})


def test_a_backbone_that_lacks_weights_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    encoder_with_labels(1, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["bert.encoder.layer.0.output.dense.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BrokenArtifact, match=r"its weights lack bert\.encoder\.layer\.0\.output\.dense\.weight"):
        BackboneOrigin(path=str(tmp_path / "model")).open(store, 0)

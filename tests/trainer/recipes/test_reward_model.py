"""The reward-model recipe: what it trains on, what it refuses, and that its loss is the one it names."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trained import metrics_of
from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.data.sources import FileData, ProductWorldData
from trainer.data.text import Encoded
from trainer.errors import Conflict, InvalidInput
from trainer.models.loading import load_pair_model
from trainer.recipes import parse_recipe
from trainer.recipes.encoding import EncodedPreference
from trainer.recipes.reward_model import measure
from trainer.recipes.validation import scored_sides
from trainer.reporting import read_events
from trainer.run import run_recipe

BACKBONE = {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 96}, "match_features": True}


def write_rows(path: Path, count: int = 12, **fields: Any) -> Path:
    rows = ProductWorldData(kind="product_world", size=count).preferences()
    contents = [
        {"prompt": row.sides[0].prompt, "chosen": row.sides[0].response, "rejected": row.sides[1].response, **fields}
        for row in rows
    ]
    path.write_text("".join(json.dumps(content) + "\n" for content in contents))
    return path


def recipe(data: Path, **changes: Any) -> Any:
    content: dict[str, Any] = {
        "kind": "reward_model",
        "name": "scorer",
        "backbone": BACKBONE,
        "data": {"path": str(data)},
        "batch": {"size": 12, "micro": 5},
        "max_steps": 1,
        "optimizer": {"learning_rate": 1e-4},
    }
    return parse_recipe({**content, **changes})


def test_the_first_loss_is_that_of_scores_near_zero_short_of_the_margin(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    plain, judged = write_rows(tmp_path / "plain.jsonl"), write_rows(tmp_path / "judged.jsonl", margin=2.0)
    scored = write_rows(tmp_path / "scored.jsonl", score_chosen=9.0, score_rejected=7.0)
    losses = []
    for data, margin in ((plain, False), (judged, True), (scored, True), (judged, False)):
        directory = tmp_path / f"{data.stem}-{margin}"
        run_recipe(recipe(data, margin=margin), directory, store, quiet=True)
        losses.append(metrics_of(directory)[0]["loss"])
    without, with_margin, from_scores, unasked = losses
    assert without == pytest.approx(math.log(2), abs=0.05)
    assert with_margin == pytest.approx(math.log(1 + math.exp(2)), abs=0.1)
    assert from_scores == pytest.approx(with_margin, abs=1e-6)
    assert unasked == pytest.approx(without, abs=1e-6)


def test_what_cannot_be_trained_on_is_refused_in_one_line(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    plain = write_rows(tmp_path / "plain.jsonl")
    unpaired = tmp_path / "unpaired.jsonl"
    unpaired.write_text('{"prompt": "product mug", "response": "color is red .", "label": true}\n')
    with pytest.raises(InvalidInput, match="margin needs a number in field 'margin'"):
        run_recipe(recipe(plain, margin=True), tmp_path / "a", store, quiet=True)
    with pytest.raises(InvalidInput, match="row 1 of the data is one judged response"):
        run_recipe(recipe(unpaired), tmp_path / "b", store, quiet=True)
    both = FileData(path=str(plain), validation=str(unpaired))
    with pytest.raises(InvalidInput, match="row 1 of the data is one judged response"):
        run_recipe(recipe(plain).model_copy(update={"data": both}), tmp_path / "c", store, quiet=True)
    assert not [event for event in read_events(tmp_path / "c") if event["type"] == "metrics"]  # before any training
    with pytest.raises(InvalidInput, match="margin and centring belong to loss bradley_terry"):
        recipe(plain, loss="bce", margin=True)


def test_a_continued_run_refuses_a_file_that_changed(tmp_path: Path) -> None:
    store, data = ArtifactStore(tmp_path / "store"), write_rows(tmp_path / "rows.jsonl")
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "checkpoints").write_text("in the way")
    with pytest.raises(Exception, match="checkpoints"):
        run_recipe(recipe(data), directory, store, quiet=True)
    (directory / "checkpoints").unlink()
    write_rows(data, count=13)
    with pytest.raises(Conflict, match=r"the training rows of .*rows\.jsonl have changed since this run began"):
        run_recipe(recipe(data), directory, store, quiet=True)
    write_rows(data)
    assert run_recipe(recipe(data), directory, store, quiet=True)["steps"] == 1


@pytest.mark.parametrize(("architecture", "pooling"), [("encoder", "mean"), ("decoder", "last_token")])
def test_a_backbone_from_files_is_trained_and_scores_the_same_once_published(
    architecture: str, pooling: str, tmp_path: Path
) -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

    tokenizer, store = make_tokenizer(), ArtifactStore(tmp_path / "store")
    shape = {"vocab_size": len(tokenizer), "num_labels": 1, "pad_token_id": 0, "eos_token_id": 3, "bos_token_id": 2}
    torch.manual_seed(0)
    if architecture == "encoder":
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        RobertaForSequenceClassification(RobertaConfig(**shape, **small)).save_pretrained(tmp_path / "backbone")
    else:
        config = GPT2Config(**shape, n_embd=16, n_layer=1, n_head=2, n_positions=96)
        GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    backbone = {"path": str(tmp_path / "backbone"), "architecture": architecture, "pooling": pooling}
    data: dict[str, Any] = {"kind": "product_world", "size": 24, "validation_size": 12}
    trained = recipe(tmp_path, backbone=backbone, max_steps=2).model_copy(update={"data": ProductWorldData(**data)})
    result = run_recipe(trained, tmp_path / "run", store, quiet=True)
    artifact = store.open(result["artifacts"]["reward_model"])
    assert artifact.manifest.details["pooling"] == pooling
    assert len(artifact.manifest.probes) == 4
    load_pair_model(artifact, store, torch.device("cpu"))  # raises where a probe scores otherwise
    assert 0 <= result["metrics"]["held_out/accuracy"] <= 1


class FirstId:
    """Scores a pair by its first token's id, in tenths."""

    outputs = ("score",)

    def score(self, batch: list[Encoded], outputs: object = None) -> torch.Tensor:
        return torch.tensor([[row.input_ids[0] / 10] for row in batch])


def log_likelihood(margins: list[float], temperature: float) -> float:
    return sum(-math.log1p(math.exp(-margin / temperature)) for margin in margins)


def test_a_temperature_is_fitted_on_what_it_is_read_on_single_logits_or_differences() -> None:
    # chosen is 2 above rejected in the first two rows, but the second prompt lifts both sides by 3
    chosen, rejected = [1.0, 4.0, -0.5], [-1.0, 2.0, 0.5]
    rows = [
        EncodedPreference(Encoded([round(10 * c)], 0), Encoded([round(10 * r)], 0), "kind")
        for c, r in zip(chosen, rejected, strict=True)
    ]
    model: Any = FirstId()
    for loss, margins in (
        ("bce", [*chosen, *(-score for score in rejected)]),
        ("bradley_terry", [c - r for c, r in zip(chosen, rejected, strict=True)]),
    ):
        metrics, calibration = measure(rows, scored_sides(model, rows), loss)  # type: ignore[arg-type]
        assert metrics["held_out/accuracy"] == pytest.approx(2 / 3)
        assert calibration is not None
        assert calibration.keys() == {"temperature"}
        best = calibration["temperature"]
        for other in (0.95 * best, 1.05 * best):
            assert log_likelihood(margins, best) > log_likelihood(margins, other)


def test_the_manifest_says_what_training_contrasted_and_how_a_pair_is_laid_out(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    world = {"kind": "product_world", "size": 24, "validation_size": 24}
    run_recipe(recipe(write_rows(tmp_path / "rows.jsonl"), name="file"), tmp_path / "file", store, quiet=True)
    for contrast in ("prompt", "both"):
        content = recipe(tmp_path / "rows.jsonl").model_dump() | {
            "name": contrast,
            "data": world | {"contrast": contrast},
        }
        run_recipe(parse_recipe(content), tmp_path / contrast, store, quiet=True)
    found = {name: store.open(name).manifest.details for name in ("file", "prompt", "both")}
    assert {name: details["contrasts"] for name, details in found.items()} == {
        "file": ["responses"],
        "prompt": ["prompts"],
        "both": ["prompts", "responses"],
    }
    for details in found.values():
        assert details["segments"] == ["prompt", "response"]
        assert details["template"] == "<cls> {prompt} <sep> {response} <sep>"


@pytest.mark.parametrize("reads", ["prompt", "response"])
def test_a_control_is_trained_published_and_measured_per_kind(reads: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    world = {"kind": "product_world", "size": 96, "validation_size": 60, "contrast": "prompt"}
    backbone = {"scratch": BACKBONE["scratch"], "reads": reads}
    content = recipe(tmp_path, backbone=backbone, loss="bce", max_steps=16, optimizer={"learning_rate": 3e-3})
    trained = content.model_copy(update={"data": ProductWorldData.model_validate(world)})
    result = run_recipe(trained, tmp_path / "run", store, quiet=True)
    artifact = store.open(result["artifacts"]["reward_model"])
    model: Any = load_pair_model(artifact, store, torch.device("cpu"))
    assert (model.reads, artifact.manifest.details["reads"]) == (reads, reads)
    accuracies = {name: value for name, value in artifact.manifest.metrics.items() if "accuracy" in name}
    assert {"held_out/accuracy", "held_out/accuracy/mod_value", "held_out/accuracy/drop_fact"} <= accuracies.keys()
    if reads == "response":  # one response carries both labels: every kind ties, to the last bit
        assert set(accuracies.values()) == {0.5}
    else:
        assert len(set(accuracies.values())) > 2

"""A reward model in 8 bits is another artifact that says how far its scores are from the original's."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from evaluation.quantising import Compared, own_pairs, quantise, score_changes
from trainer.artifacts import ArtifactStore, Contents
from trainer.errors import BrokenArtifact, Conflict, InvalidInput
from trainer.manifest import Artifact, Manifest, Probe
from trainer.models.int8_linear import Int8Linear
from trainer.models.loading import check_probes, load_pair_model
from trainer.models.policy import model_bytes
from trainer.validation_scores import ValidationScores, read_validation_scores

CPU = torch.device("cpu")
MANIFEST = Manifest(
    kind="reward_model", name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe={},
    recipe_digest="", parents=[], data_digest=None, code_version="", metrics={},
    details={"loss": "bce", "calibration": {"temperature": 2.0}}, probes=[], files={},
)  # fmt: skip


@pytest.fixture(scope="module")
def own(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    copy = ArtifactStore(tmp_path_factory.mktemp("quantised") / "artifacts")
    shutil.copytree(store.root, copy.root)
    return copy


@pytest.fixture(scope="module")
def quantised(own: ArtifactStore, pairs: list[Pair]) -> Artifact:
    siblings = [Pair(pair.prompt, other.response) for pair in pairs[:6] for other in pairs[:4]]
    return quantise(own, "rm", "rm-int8", compared=Compared(siblings, "siblings"), largest_mean_error=1.0)


def scores(own: ArtifactStore, scorer: str, pairs: list[Pair]) -> list[float]:
    with ScoringEngine(own, CPU) as engine:
        return [each.score for each in engine.score(scorer, pairs) if isinstance(each, Scored)]


def test_differences_are_measured_in_scores_and_in_their_standard_deviations() -> None:
    before, after = np.array([0.0, 2.0, 4.0, 6.0]), np.array([0.1, 2.0, 3.8, 6.5])

    found = score_changes(["a", "a", "b", "b"], before, after, MANIFEST)

    assert found["quantisation/pairs"] == 4
    assert found["quantisation/error/mean"] == pytest.approx(0.2)  # (0.1 + 0 + 0.2 + 0.5) / 4
    assert found["quantisation/error/max"] == pytest.approx(0.5)
    assert found["quantisation/error/mean_in_sd"] == pytest.approx(0.2 / 5**0.5)
    assert found["quantisation/error/max_in_sd"] == pytest.approx(0.5 / 5**0.5)
    assert found["quantisation/spearman"] == pytest.approx(1)
    assert found["quantisation/kendall"] == pytest.approx(1)
    # sigmoid(0.05) - sigmoid(0) is 0.0125; the others move less
    assert found["quantisation/probability_error/max"] == pytest.approx(0.0125, abs=1e-4)


def test_scores_far_below_zero_have_the_probability_zero() -> None:
    found = score_changes(["a", "a"], np.array([-2000.0, 0.0]), np.array([-2000.0, 0.0]), MANIFEST)

    assert found["quantisation/probability_error/max"] == 0


def test_orders_that_turn_are_counted_within_prompts_and_new_ties_count_half() -> None:
    before = np.array([0.0, 1.0, 0.0, 1.0, 5.0, 5.0, 2.0, 3.0])
    after = np.array([1.0, 0.0, 2.0, 2.0, 5.0, 6.0, 2.0, 3.0])  # turned, tied, equal before, kept

    found = score_changes(["a", "a", "b", "b", "c", "c", "d", "d"], before, after, MANIFEST)

    assert found["quantisation/compared_orders"] == 3
    assert found["quantisation/flips"] == pytest.approx(1.5 / 3)
    assert "quantisation/flips/lower" not in found, "three prompts have no interval"


def test_no_flip_among_few_prompts_is_no_proof_that_there_are_none() -> None:
    before = np.arange(20.0)

    found = score_changes([f"p{row // 2}" for row in range(20)], before, before + 0.1, MANIFEST)

    assert found["quantisation/flips"] == 0
    assert found["quantisation/flips/upper"] == pytest.approx(1 - 0.025**0.1)  # of 10 prompts, by Clopper and Pearson


def test_what_one_pair_leaves_undefined_is_left_out() -> None:
    found = score_changes(["a"], np.array([1.0]), np.array([1.5]), MANIFEST)

    assert found.keys() == {
        f"quantisation/{name}" for name in ("pairs", "error/mean", "error/max", "probability_error/max")
    }


def test_the_manifest_says_how_it_was_made_and_what_that_changed(
    own: ArtifactStore, quantised: Artifact, pairs: list[Pair]
) -> None:
    original, manifest = own.open("rm@1"), quantised.manifest
    before, after = scores(own, "rm@1", pairs[:4]), scores(own, "rm-int8", pairs[:4])
    differences = [abs(a - b) for a, b in zip(before, after, strict=True)]

    assert 0 < max(differences) <= manifest.metrics["quantisation/error/max"]
    assert 0 < manifest.metrics["quantisation/error/mean"] < manifest.metrics["quantisation/error/max"]
    assert manifest.metrics["quantisation/pairs"] == 24
    assert manifest.details == {**original.manifest.details, "quantisation": {"bits": 8, "layers": 12}}
    assert [(each.role, each.digest) for each in manifest.parents] == [("original", original.digest)]
    assert manifest.recipe == {"kind": "quantise", "source": "rm@1", "pairs": "siblings"}


def test_its_files_are_the_floats_that_a_plain_from_pretrained_reads(own: ArtifactStore, quantised: Artifact) -> None:
    assert quantised.manifest.files == own.open("rm@1").manifest.files
    assert AutoModelForSequenceClassification.from_pretrained(quantised.path).config.num_labels == 1


def test_the_originals_scores_of_validation_data_stay_with_the_original(own: ArtifactStore, pairs: list[Pair]) -> None:
    source = own.open("rm@1")

    def save(directory: Path) -> None:
        shutil.copytree(source.path, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        ValidationScores(prompt=[0], characters=[3], cut=[False], scores={"score": [1.0]}).save(directory)

    own.publish("validated", Contents("reward_model", {}, "", {}, source.manifest.details, [], []), save)

    made = quantise(own, "validated", "validated-int8", compared=Compared(pairs, "pairs"), largest_mean_error=1.0)

    assert read_validation_scores(own.open("validated")) is not None
    assert read_validation_scores(made) is None


def test_its_encoder_multiplies_integers_and_holds_them_in_a_quarter_of_the_memory(
    own: ArtifactStore, quantised: Artifact
) -> None:
    (network,) = load_pair_model(quantised, own, CPU).networks_held()
    (original,) = load_pair_model(own.open("rm@1"), own, CPU).networks_held()
    layers = [module for module in network.modules() if isinstance(module, Int8Linear)]

    assert len(layers) == 12
    weights = sum(layer.weight.numel() for layer in layers)
    scales = sum(layer.scale.numel() for layer in layers)
    assert model_bytes(network) == model_bytes(original) - 3 * weights + 4 * scales


def test_probe_pairs_are_scored_in_8_bits_and_may_differ_by_no_more_than_quantising_does(
    own: ArtifactStore, quantised: Artifact
) -> None:
    model, manifest = load_pair_model(quantised, own, CPU), quantised.manifest
    probe, worst = manifest.probes[0], manifest.metrics["quantisation/error/max"]
    assert probe.scores != own.open("rm@1").manifest.probes[0].scores

    def published(off_by: float) -> Artifact:
        moved = Probe(prompt=probe.prompt, response=probe.response, scores={"score": probe.scores["score"] + off_by})
        return Artifact(quantised.directory, manifest.model_copy(update={"probes": [moved]}), "")

    check_probes(model, published(off_by=worst))
    with pytest.raises(BrokenArtifact, match="a probe pair scores"):
        check_probes(model, published(off_by=worst + 2e-3 * (1 + abs(probe.scores["score"]))))


def test_a_gpu_is_told_to_ask_the_original(own: ArtifactStore, quantised: Artifact) -> None:
    with pytest.raises(Conflict, match="on a GPU ask rm@1"):
        load_pair_model(quantised, own, torch.device("cuda"))


def test_nothing_is_published_where_scores_move_more_than_allowed(own: ArtifactStore, pairs: list[Pair]) -> None:
    with pytest.raises(Conflict, match=r"standard deviations away on average, more than 1e-06.*--max-error"):
        quantise(own, "rm", "moved", compared=Compared(pairs, "pairs"), largest_mean_error=1e-6)

    assert own.versions("moved") == []


def test_pairs_that_score_alike_say_nothing_of_an_error(own: ArtifactStore, pairs: list[Pair]) -> None:
    with pytest.raises(InvalidInput, match=r"rm@1 scores the 2 of pairs alike.*--pairs"):
        quantise(own, "rm", "alike", compared=Compared([pairs[0]] * 2, "pairs"), largest_mean_error=1.0)


def test_only_encoder_reward_models_that_are_not_quantised_yet_are_taken(
    own: ArtifactStore, quantised: Artifact, pairs: list[Pair]
) -> None:
    details = {**own.open("rm@1").manifest.details, "architecture": "decoder"}
    own.publish("decoder", Contents("reward_model", {}, "", {}, details, [], []), lambda _: None)

    for reference, message in [
        ("policy", "is a policy"),
        ("policy/discriminator", "is a discriminator"),
        ("decoder", "is a decoder"),
        (quantised.reference, "quantised already"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            quantise(own, reference, "x", compared=Compared(pairs, "pairs"), largest_mean_error=1.0)


def test_pairs_too_long_for_the_window_are_left_out_and_counted(own: ArtifactStore, pairs: list[Pair]) -> None:
    long = Pair("product mug", "color " * 200)

    made = quantise(own, "rm", "some", compared=Compared([long, *pairs], "pairs"), largest_mean_error=1.0)

    assert made.manifest.metrics["quantisation/too_long"] == 1
    assert made.manifest.metrics["quantisation/pairs"] == 12
    with pytest.raises(InvalidInput, match="none of the 1 pairs of pairs fits rm@1"):
        quantise(own, "rm", "none", compared=Compared([long], "pairs"), largest_mean_error=1.0)


def test_without_pairs_those_that_training_held_out_are_read_again_or_else_the_probes(tmp_path: Path) -> None:
    world = {"kind": "product_world", "size": 4, "validation_size": 30}
    trained = MANIFEST.model_copy(update={"recipe": {"data": world}})
    lost = {"data": {"path": str(tmp_path / "gone.jsonl"), "validation": str(tmp_path / "gone too.jsonl")}}
    probes = [Probe(prompt="p", response="r", scores={"score": 1.0})]

    found = own_pairs(trained)

    assert found.place == "held-out rows of the product-description world"
    assert len(found.pairs) == 60
    for recipe in (lost, {}):
        left = own_pairs(MANIFEST.model_copy(update={"recipe": recipe, "probes": probes}))
        assert left == Compared([Pair("p", "r")], "probe pairs")

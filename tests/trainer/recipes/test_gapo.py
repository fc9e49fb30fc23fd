"""GAPO's rounds are what they say they are, resume exactly, and publish an anchor and a live reward model."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer, perturb_prompt, render_prompt, sample_examples
from trainer.errors import InvalidInput, RunFailed
from trainer.models.loading import load_pair_model
from trainer.models.policy import Policy
from trainer.recipe import Recipe
from trainer.recipes import parse_recipe
from trainer.reporting import read_events
from trainer.run import run_recipe

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2, "max_tokens": 64}
DATA = {"kind": "product_world", "size": 24, "validation_size": 12, "levels": [1]}
DECODER = {"path": "base", "architecture": "decoder"}
GAPO: dict[str, Any] = {
    "kind": "gapo",
    "name": "game",
    "policy": {"path": "base"},
    "data": DATA,
    "reward_model": {"path": "warm", "optimizer": {"learning_rate": 1e-3, "warmup_fraction": 0.0}},
    "rounds": 3,
    "optimizer": {"learning_rate": 1e-3, "schedule": "constant", "warmup_fraction": 0.0},
    "ppo": {"rollouts": 8, "minibatch": 4, "max_response_tokens": 12, "value": {"trunk": "detached"}},
    "evaluation": {"prompts": 2},
    "early_stop": None,
}


def recipe(**changes: Any) -> Recipe:
    return parse_recipe({**GAPO, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    root = tmp_path_factory.mktemp("gapo")
    store = ArtifactStore(root / "artifacts")
    quick = {"data": {**DATA, "size": 64}, "batch": {"size": 16}, "optimizer": {"learning_rate": 1e-2}}
    base = {"kind": "sft", "name": "base", "policy": {"scratch": SHAPE}, "max_steps": 12}
    run_recipe(parse_recipe({**quick, **base}), root / "base", store, quiet=True)
    warm = {"kind": "reward_model", "name": "warm", "backbone": {"scratch": SHAPE}, "loss": "bce", "max_steps": 2}
    run_recipe(parse_recipe({**quick, **warm}), root / "warm", store, quiet=True)
    return store


def weights(store: ArtifactStore, reference: str) -> dict[str, torch.Tensor]:
    return load_file(store.open(reference).path / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def metrics_of(directory: Path) -> list[dict[str, float]]:
    """Of the rounds; the warm-up's stand under a stage of their own."""
    events = [event for event in read_events(directory) if event["type"] == "metrics"]
    return [event["values"] for event in events if event["stage"] == "train"]


def test_the_anchor_stays_the_live_model_moves_every_round_and_both_say_which_to_serve(
    store: ArtifactStore, tmp_path: Path
) -> None:
    result = run_recipe(recipe(name="told", publish_every_rounds=1), tmp_path / "run", store, quiet=True)
    assert result["steps"] == 3
    for reference in result["artifacts"].values():
        load_pair_model(store.open(reference), store, torch.device("cpu"))
    anchor = store.open(result["artifacts"]["reward_model"])
    assert same(weights(store, anchor.reference), weights(store, "warm"))
    assert anchor.manifest.details["serve_by_default"] is True
    history = store.versions("told/live_reward_model")
    assert [each.manifest.details["round"] for each in history] == [1, 2, 3, 3]
    moved = [weights(store, "warm"), *(weights(store, each.reference) for each in history)]
    assert [same(before, after) for before, after in itertools.pairwise(moved)] == [False, False, False, True]
    live = store.open(result["artifacts"]["live_reward_model"]).manifest
    assert live.details["anchor"] == anchor.reference
    assert live.details["serve_by_default"] is False
    assert "serve the anchor" in live.details["why"]
    for manifest in (anchor.manifest, live):
        kinds = [name for name in manifest.metrics if name.startswith("held_out/accuracy/")]
        assert "held_out/accuracy/mod_value" in kinds
        assert manifest.details["calibration"]["temperature"] > 0
        assert {"held_out/calibration_error", "generations/responses"} <= manifest.metrics.keys()
    policy = store.open(result["artifacts"]["policy"]).manifest
    assert {parent.role: parent.name for parent in policy.parents} == {
        "reference": "base",
        "reward_model": "told/live_reward_model",
        "anchor": "told/reward_model",
    }


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, (4, 2, 2)),
        ({"generated_share": 0.5}, (4, None, 4)),
        ({"generated_share": 0.0, "policy_steps": 2}, (4, 4, None)),
        ({"generated_label": {"kind": "oracle"}, "reward_from": "min", "replay": 12}, (4, 2, 2)),
        ({"generated_label": {"kind": "soft", "alpha": 0.3}, "augmentation": "preferential_response"}, (4, 2, 2)),
        ({"reward_model_steps": 3, "reward_from": "anchor"}, (4, 2, 2)),
        ({"reward_model": {"warm_up": {"backbone": DECODER, "max_steps": 1}}}, (4, 2, 2)),
    ],
)
def test_batches_of_every_round_contain_the_stated_shares(
    changes: dict[str, Any], rows: tuple[int | None, ...], store: ArtifactStore, tmp_path: Path
) -> None:
    run_recipe(recipe(**changes), tmp_path / "run", store, quiet=True)
    rounds = metrics_of(tmp_path / "run")
    assert len(rounds) == 3
    for metrics in rounds:
        found = tuple(metrics.get(f"reward_model/{origin}/rows") for origin in ("accepted", "rejected", "generated"))
        assert found == rows
        assert {"objective/scores", "anchor/probability", "oracle/gold", "reward_model/loss"} <= metrics.keys()


def test_without_reward_model_steps_it_is_ppo_on_a_frozen_reward_model(store: ArtifactStore, tmp_path: Path) -> None:
    frozen = run_recipe(recipe(name="frozen", reward_model_steps=0), tmp_path / "gapo", store, quiet=True)["artifacts"]
    assert same(weights(store, frozen["live_reward_model"]), weights(store, "warm"))
    shared = {key: GAPO[key] for key in ("policy", "rounds", "optimizer", "ppo", "evaluation", "early_stop", "data")}
    plain = parse_recipe({**shared, "kind": "ppo", "name": "plain", "reward_model": {"path": "warm"}})
    alone = run_recipe(plain, tmp_path / "ppo", store, quiet=True)["artifacts"]
    assert same(weights(store, frozen["policy"]), weights(store, alone["policy"]))


def test_a_run_killed_within_a_round_resumes_to_the_same_weights(
    store: ArtifactStore, tmp_path: Path, kill_after: Callable[..., None]
) -> None:
    content = recipe(rounds=7, checkpoint={"every_rounds": 3}, replay=20, reward_model_steps=2)
    straight = run_recipe(content, tmp_path / "straight", store, quiet=True)
    directory = tmp_path / "killed"
    kill_after(content, directory, store, 4)  # one past the checkpoint of round 3
    resumed = run_recipe(content, directory, store, quiet=True)
    for role in ("policy", "live_reward_model"):
        ours, theirs = resumed["artifacts"][role], straight["artifacts"][role]
        assert ours != theirs
        assert same(weights(store, ours), weights(store, theirs)), role
    assert straight["metrics"] == resumed["metrics"]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """An encoder of the same words under other ids, with tokens that the policy does not have."""
    words = [word for word in make_tokenizer().get_vocab() if not word.startswith("<")]
    random.Random(0).shuffle(words)
    specials = ["[SEP]", "[UNK]", "[PAD]", "[CLS]", *(f"[unused{index}]" for index in range(9))]
    vocabulary = {word: index for index, word in enumerate([*specials, *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **names)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, num_labels=1, **shape)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "foreign")
    tokenizer.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


def test_the_reward_model_is_warmed_up_here_and_reads_text_with_its_own_tokenizer(
    foreign: Path, store: ArtifactStore, tmp_path: Path
) -> None:
    warm_up = {"backbone": {"path": str(foreign)}, "max_steps": 2, "batch": {"size": 4}}
    content = recipe(name="foreign", reward_model={"warm_up": warm_up}, data={**DATA, "size": 40})
    result = run_recipe(content, tmp_path / "run", store, quiet=True)
    live = store.open(result["artifacts"]["live_reward_model"])
    model: Any = load_pair_model(live, store, torch.device("cpu"))
    policy_vocabulary = make_tokenizer().get_vocab()
    example = sample_examples("train", 1, seed=0, levels=(1,))[0]
    encoded = model.encode(render_prompt(example.task), example.response)
    assert len(model.tokenizer) != len(policy_vocabulary)
    assert model.tokenizer.get_vocab()["mug"] != policy_vocabulary["mug"]
    assert model.tokenizer.unk_token_id not in encoded.input_ids
    warm = next(event for event in read_events(tmp_path / "run") if event["type"] == "artifact")
    assert (warm["name"], warm["kind"]) == ("foreign/warm_up", "reward_model")
    assert same(weights(store, "foreign/warm_up"), weights(store, result["artifacts"]["reward_model"]))


def test_an_anchor_that_was_never_pointwise_is_not_published_as_if_it_were(
    store: ArtifactStore, tmp_path: Path
) -> None:
    ranked = {"kind": "reward_model", "name": "ranked", "backbone": {"scratch": SHAPE}, "data": DATA, "max_steps": 1}
    run_recipe(parse_recipe(ranked), tmp_path / "ranked", store, quiet=True)
    reward_model = {**GAPO["reward_model"], "path": "ranked"}
    content = recipe(name="told-apart", reward_model=reward_model, rounds=1)
    made = run_recipe(content, tmp_path / "run", store, quiet=True)["artifacts"]
    anchor, live = (store.open(made[role]).manifest.details for role in ("reward_model", "live_reward_model"))
    assert (anchor["loss"], anchor["contrasts"]) == ("bradley_terry", ["responses"])
    assert (live["loss"], live["contrasts"]) == ("bce", ["prompts"])


def write_rows(path: Path, rows: list[dict[str, str]]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path)}


def good_rows(count: int) -> list[dict[str, str]]:
    rng = random.Random(0)
    return [
        {
            "prompt": render_prompt(example.task),
            "perturbed_prompt": render_prompt(perturb_prompt(rng, example)[1]),
            "response": example.response,
        }
        for example in sample_examples("train", count, seed=0, levels=(1,))
    ]


def test_rows_of_a_file_are_verified_by_the_checker_and_counted(store: ArtifactStore, tmp_path: Path) -> None:
    rows = good_rows(6)
    rows[1]["response"] = rows[2]["response"]
    rows[4]["perturbed_prompt"] = rows[4]["prompt"] + " | avoid wonderful"
    content = recipe(name="verified", data=write_rows(tmp_path / "rows.jsonl", rows), verify="product_world", rounds=1)
    result = run_recipe(content, tmp_path / "run", store, quiet=True)
    metrics = store.open(result["artifacts"]["policy"]).manifest.metrics
    assert (metrics["data/accepted_violating"], metrics["data/rejected_satisfying"]) == (1.0, 1.0)
    said = [event["text"] for event in read_events(tmp_path / "run") if event["type"] == "message"]
    assert "of 6 rows, 1 accepted violate their prompt and 1 rejected satisfy theirs" in said


def test_bad_rows_and_models_end_in_one_line_before_training(store: ArtifactStore, tmp_path: Path) -> None:
    rows = good_rows(4)
    equal = [*rows[:2], {**rows[2], "perturbed_prompt": rows[2]["prompt"]}]
    long = [{**rows[0], "prompt": rows[0]["prompt"] + " | avoid" + " mug ;" * 40}]
    pairs = [{"prompt": "product mug | color red", "chosen": "its color is red .", "rejected": "it is big ."}]
    elsewhere = [{"prompt": "write", "perturbed_prompt": "do not write", "response": "written ."}]
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"data": write_rows(tmp_path / "equal", equal)},
            "row 3: the perturbed prompt is equal to the prompt, so nothing tells right from wrong",
        ),
        ({"data": write_rows(tmp_path / "pairs", pairs)}, "row 1: preferential prompts share one response"),
        (
            {"data": write_rows(tmp_path / "rows", rows), "augmentation": "preferential_response"},
            "row 1: preferential responses share one prompt",
        ),
        ({"data": write_rows(tmp_path / "long", long)}, "would drop constraints without a word"),
        ({"reward_model": {"path": "base"}}, "base@1 is a policy, not a reward model"),
        ({"reward_model": {"path": "warm", "batch": {"size": 2}}}, "no room for a generated row"),
        (
            {"data": write_rows(tmp_path / "else", elsewhere), "generated_label": {"kind": "oracle"}},
            "not a prompt of the product-description world",
        ),
    ]
    for number, (changes, message) in enumerate(cases):
        with pytest.raises(InvalidInput, match=message):
            run_recipe(recipe(**changes), tmp_path / f"run-{number}", store, quiet=True)
        assert metrics_of(tmp_path / f"run-{number}") == []
    with pytest.raises(InvalidInput, match="give either path"):
        recipe(reward_model={})


def test_a_policy_that_says_nothing_gives_an_empty_round_and_a_clear_error(
    store: ArtifactStore, tmp_path: Path
) -> None:
    policy = Policy.load(store.open("base").path)
    with torch.no_grad():  # all tokens stand in one direction, the end far ahead of the others
        embeddings = policy.model.get_input_embeddings().weight
        embeddings.zero_()
        embeddings[:, 0] = 50.0
        embeddings[policy.eos_ids, 0] = 100.0
    policy.save(tmp_path / "mute")
    with pytest.raises(RunFailed, match="none of 8 generations can be shown to the reward model"):
        run_recipe(recipe(policy={"path": str(tmp_path / "mute")}), tmp_path / "run", store, quiet=True)

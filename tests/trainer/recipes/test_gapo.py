"""GAPO's rounds are what they say they are, resume exactly, and publish an anchor and a live reward model."""

import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tests.trained import metrics_of, same, weights
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.product_world import make_tokenizer, perturb_prompt, render_prompt, sample_examples
from trainer.data.sources import ProductWorldData
from trainer.errors import BrokenArtifact, InvalidInput, RunFailed, Stopped
from trainer.models.loading import load_pair_model
from trainer.models.policy import Policy
from trainer.recipe import Recipe
from trainer.recipes import parse_recipe
from trainer.recipes.adversarial_batches import AdversarialBatches, Labelled
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.reward_hacking import HackingDetector
from trainer.reporting import STOP_FILE, read_events
from trainer.run import run_recipe
from trainer.validation_scores import read_validation_scores

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
    assert [each.manifest.details["round"] for each in history] == [1, 2, 3]
    moved = [weights(store, "warm"), *(weights(store, each.reference) for each in history)]
    assert [same(before, after) for before, after in itertools.pairwise(moved)] == [False, False, False]
    live = store.open(result["artifacts"]["live_reward_model"]).manifest
    assert live.details["anchor"] == anchor.reference
    assert live.details["serve_by_default"] is False
    assert "serve the anchor" in live.details["why"]
    for manifest in (anchor.manifest, live):
        kinds = [name for name in manifest.metrics if name.startswith("held_out/accuracy/")]
        assert "held_out/accuracy/mod_value" in kinds
        assert manifest.details["calibration"]["temperature"] > 0
        assert {"held_out/calibration_error", "generations/responses"} <= manifest.metrics.keys()
    assert read_validation_scores(store.open(result["artifacts"]["policy"])) is not None
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
        ({"generated_label": "oracle", "reward_from": "min", "replay": 12}, (4, 2, 2)),
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


@pytest.mark.parametrize(
    ("every_rounds", "place"), [(1, "after round 1"), (2, "with the first")], ids=["each", "every-second"]
)
def test_a_stop_is_answered_within_a_round_which_is_played_again_bit_for_bit(
    every_rounds: int, place: str, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = recipe(checkpoint={"every_rounds": every_rounds}, replay=12)
    straight = run_recipe(content, tmp_path / "straight", store, quiet=True)
    directory = tmp_path / "stopped"
    updates: list[int] = []

    def step(self: PPOLearner, *arguments: Any) -> dict[str, float]:
        updates.append(arguments[5])
        if arguments[5] == 5:  # a round has four: this is the second round's second
            (directory / STOP_FILE).touch()
        return whole(self, *arguments)

    whole = PPOLearner._step
    with monkeypatch.context() as patch:
        patch.setattr(PPOLearner, "_step", step)
        with pytest.raises(Stopped, match=f"stopped on request in round 2 of 3; it continues {place}"):
            run_recipe(content, directory, store, quiet=True)
    assert updates == [0, 1, 2, 3, 4, 5]  # the round's other two were not waited for
    assert len(metrics_of(directory)) == 1
    resumed = run_recipe(content, directory, store, quiet=True)
    assert len(metrics_of(directory)) == 4 - (every_rounds == 1)
    for role in ("policy", "live_reward_model"):
        assert same(weights(store, straight["artifacts"][role]), weights(store, resumed["artifacts"][role])), role
    assert straight["metrics"] == resumed["metrics"]


def test_generations_are_fresh_in_every_round_and_answer_training_prompts_alone(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[set[tuple[int, ...]]] = []

    def batch(self: AdversarialBatches, step: int, generations: Any) -> list[Labelled]:
        shown.append({tuple(each.encoded.input_ids) for each in generations})
        rows = draw(self, step, generations)
        assert {tuple(row.encoded.input_ids) for row in rows if row.origin == "generated"} <= shown[-1]
        return rows

    draw = AdversarialBatches.batch
    monkeypatch.setattr(AdversarialBatches, "batch", batch)
    # rounds of ten prompts of 24: the third has the four that are left, and none of the second's generations
    content = recipe(ppo={**GAPO["ppo"], "rollouts": 10})
    run_recipe(content, tmp_path / "run", store, quiet=True)
    assert sorted(map(len, shown)) == [4, 10, 10]
    assert len(set.union(*shown)) == 24
    model: Any = load_pair_model(store.open("warm"), store, torch.device("cpu"))
    source = ProductWorldData.model_validate(DATA)
    training, held_out = (
        {tuple(encode_segment(model, str(prompt))) for prompt in source.prompts(held_out=each)}
        for each in (False, True)
    )
    prompts = {ids[: ids.index(model.tokenizer.sep_token_id) + 1] for each in shown for ids in each}
    assert prompts == training
    assert not prompts & held_out


def encode_segment(model: Any, prompt: str) -> list[int]:
    """A prompt as the first segment."""
    row = model.encode(prompt, ".")
    return list(row.input_ids[: row.response_start])


@pytest.mark.parametrize(
    ("changes", "judges"),
    [
        ({}, {"oracle/gold", "anchor/probability"}),
        ({"reward_from": "anchor"}, {"oracle/gold"}),  # what is optimised cannot judge
        ({"reward_model_steps": 0}, {"oracle/gold"}),  # the live model is the anchor
        ({"data": "file"}, {"anchor/probability"}),
    ],
)
def test_the_anchor_and_the_checker_judge_where_they_are_not_optimised(
    changes: dict[str, Any], judges: set[str], store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def observe(self: HackingDetector, reward: float, means: dict[str, float]) -> str:
        asked.append(set(means))
        return "it was hacked"

    monkeypatch.setattr(HackingDetector, "observe", observe)
    if "data" in changes:
        changes = {"data": write_rows(tmp_path / "rows.jsonl", good_rows(12))}
    result = run_recipe(recipe(**changes, early_stop={}), tmp_path / "run", store, quiet=True)
    assert asked == [judges]
    assert (result["steps"], result["stopped_early"]) == (1, "it was hacked")
    policy = store.open(result["artifacts"]["policy"]).manifest
    assert policy.details["stopped_early"] == "it was hacked"


def test_the_defaults_are_the_papers() -> None:
    made: Any = parse_recipe(
        {
            "kind": "gapo",
            "name": "paper",
            "policy": {"path": "start"},
            "data": {"path": "rows.jsonl"},
            "reward_model": {"warm_up": {"backbone": {"path": "./longformer"}}},
        }
    )
    ppo, adversary = made.ppo, made.reward_model
    assert (made.optimizer.learning_rate, ppo.value.learning_rate, adversary.optimizer.learning_rate) == (
        5e-7,
        9e-6,
        1e-5,
    )
    assert (adversary.batch.size, adversary.warm_up.epochs, ppo.epochs) == (8, 2.0, 2)
    assert (ppo.rollouts, ppo.minibatch, ppo.max_response_tokens) == (1024, 128, 1024)
    assert (ppo.kl.coefficient, ppo.kl.estimator, ppo.kl.target) == (0.01, "k1", None)
    assert (ppo.advantages, ppo.gamma, ppo.gae_lambda, ppo.whiten) == ("gae", 1.0, 0.95, True)
    assert (ppo.clip, ppo.value.clip, ppo.reward.clamp, made.optimizer.max_grad_norm) == (0.2, 0.2, 10.0, 1.0)
    assert (adversary.accepted_share, made.generated_share, made.generated_label.kind) == (0.5, 0.25, "zero")
    assert (made.reward_model_steps, made.policy_steps, made.reward_from, made.replay) == (1, 1, "live", None)
    assert (made.augmentation, adversary.warm_up.backbone.architecture) == ("preferential_prompt", "encoder")


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
    data = write_rows(tmp_path / "rows.jsonl", rows)
    warm_up = {"backbone": DECODER, "max_steps": 1}
    checked = {**data, "verify": "product_world"}
    content = recipe(name="verified", data=checked, rounds=1, reward_model={"warm_up": warm_up})
    result = run_recipe(content, tmp_path / "run", store, quiet=True)
    metrics = store.open(result["artifacts"]["policy"]).manifest.metrics
    assert (metrics["data/accepted_violating"], metrics["data/rejected_satisfying"]) == (1.0, 1.0)
    said = [event["text"] for event in read_events(tmp_path / "run") if event["type"] == "message"]
    assert said.count("of 6 rows, 1 accepted violate their prompt and 1 rejected satisfy theirs") == 1
    # where it stood before
    assert recipe(data=data, verify="product_world").digest() == recipe(data=checked).digest()


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
    warm_up = {"backbone": {"scratch": SHAPE}, "max_steps": 1}
    content = recipe(data=write_rows(tmp_path / "long", long), reward_model={"warm_up": warm_up})
    with pytest.raises(InvalidInput, match="would drop constraints without a word"):
        run_recipe(content, tmp_path / "warm", store, quiet=True)
    assert not [event for event in read_events(tmp_path / "warm") if event["type"] == "metrics"]  # nor warming up
    with pytest.raises(InvalidInput, match="give either path"):
        recipe(reward_model={})


def test_a_reward_model_without_its_head_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    warm = store.open("warm")
    manifest = warm.manifest

    def behead(staging: Path) -> None:
        for file in manifest.files:
            shutil.copyfile(warm.path / file, staging / file)
        tensors = load_file(warm.path / "model.safetensors")
        del tensors["classifier.weight"]
        save_file(tensors, staging / "model.safetensors", metadata={"format": "pt"})

    store.publish("headless", Contents("reward_model", {}, "", {}, manifest.details, manifest.probes, []), behead)
    for kind, changes in (("gapo", {}), ("ppo", {"kind": "ppo", "name": "paid"})):
        content = recipe(**{**changes, "reward_model": {"path": "headless"}})
        with pytest.raises(BrokenArtifact, match=r"weights lack classifier\.weight, which would be random"):
            run_recipe(content, tmp_path / kind, store, quiet=True)
        assert metrics_of(tmp_path / kind) == []


def test_a_reward_model_in_8_bits_is_refused_by_the_name_of_the_one_in_floats(
    store: ArtifactStore, tmp_path: Path
) -> None:
    warm = store.open("warm")
    details = {**warm.manifest.details, "quantisation": {"weights": "int8"}}
    contents = Contents("reward_model", {}, "", {}, details, warm.manifest.probes, [warm.as_parent("original")])
    store.publish("warm-int8", contents, lambda staging: shutil.copytree(warm.path, staging, dirs_exist_ok=True))

    with pytest.raises(InvalidInput, match=r"warm-int8@1 is an 8-bit version, .* give warm@1"):
        run_recipe(recipe(reward_model={"path": "warm-int8"}), tmp_path / "run", store, quiet=True)


def test_a_policy_that_diverges_from_its_reference_loses_no_round(store: ArtifactStore, tmp_path: Path) -> None:
    wild = {"learning_rate": 0.03, "schedule": "constant", "warmup_fraction": 0.0}
    content = recipe(optimizer=wild, ppo={**GAPO["ppo"], "kl": {"limit": 1}})
    with pytest.raises(RunFailed, match=r"the policy diverged: .* over ppo\.kl\.limit=1; raise ppo\.kl\.coefficient"):
        run_recipe(content, tmp_path / "run", store, quiet=True)
    played = len(metrics_of(tmp_path / "run"))
    assert played > 0
    assert (tmp_path / "run" / "checkpoints" / f"step-{played:08d}").is_dir()


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

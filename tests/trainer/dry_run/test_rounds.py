"""A dry run of PPO and GAPO counts what the rounds have, and its memory is what training takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import (
    AutoModelForSequenceClassification,
    DynamicCache,
    LlamaForCausalLM,
    LongformerConfig,
    PreTrainedModel,
)

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.dry_run.check import DryRun, dry_run
from trainer.dry_run.memory import Passes
from trainer.dry_run.rounds import estimate_rounds, find_scorer, policy_passes
from trainer.dry_run.table import print_dry_run
from trainer.errors import InvalidInput, NotFound
from trainer.models.footprint import measure_cache, measure_footprint
from trainer.models.policy import PairBatch, Policy
from trainer.models.reference import AdaptersOffPolicy
from trainer.models.starting_point import BackboneOrigin, Scratch, TrainedPolicy
from trainer.models.value_head import ActorCritic
from trainer.recipes import parse_recipe
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.ppo_settings import PPOSettings
from trainer.recipes.rounds import PromptRounds, RoundsRecipe
from trainer.schedule import OptimizerSettings

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2, "max_tokens": 64}
ENCODER = {"scratch": SHAPE, "match_features": True}
DATA = {"kind": "product_world", "size": 40, "validation_size": 3, "levels": [1]}
PPO: dict[str, Any] = {"rollouts": 16, "minibatch": 6, "micro": 4, "epochs": 3, "max_response_tokens": 10}
GAPO: dict[str, Any] = {
    "kind": "gapo",
    "name": "mine",
    "policy": {"scratch": SHAPE},
    "data": DATA,
    "reward_model": {"warm_up": {"backbone": ENCODER, "batch": {"size": 16}, "epochs": 2}},
    "rounds": 7,
    "ppo": PPO,
}


def make(**changes: Any) -> RoundsRecipe:
    recipe = parse_recipe({**GAPO, **changes})
    assert isinstance(recipe, RoundsRecipe)
    return recipe


def check(tmp_path: Path, **changes: Any) -> DryRun:
    return dry_run(make(**changes), ArtifactStore(tmp_path / "artifacts"))


def test_rounds_are_counted_by_hand(tmp_path: Path) -> None:
    report = check(tmp_path, policy_steps=2, reward_model_steps=5)
    assert report.data is not None
    assert (report.data.rows, report.data.held_out_rows, report.data.found) == (40, 3, "read")
    assert report.rounds is not None
    assert report.rounds.model_dump() == {
        "rounds": 7,
        "prompts": 40,
        "rollouts": 32,  # two passes of 16
        "response_tokens": 320,  # of 10 tokens
        "policy_updates": 126,  # 7 rounds of 2 passes of 3 epochs of 3 minibatches: 6, 6 and 4
        "reward_model_steps": 35,
        "warm_up_steps": 6,  # 40 rows are batches of 16, 16 and 8, twice
    }
    assert (report.steps, report.memory) == (None, ())
    assert (report.rows_per_pass, report.tokens_per_row) == (4, 64)
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_counts_once_and_no_round_has_more_of_them_than_there_are(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n % 5}", "perturbed_prompt": f"q{n}", "response": "r"} for n in range(9)]
    path = write(tmp_path / "rows.jsonl", rows)
    report = check(tmp_path, data={"path": str(path)}, ppo={**PPO, "responses_per_prompt": 2})
    assert report.rounds is not None
    assert (report.rounds.prompts, report.rounds.rollouts) == (5, 10)
    assert report.rounds.policy_updates == 7 * 3 * 2


def test_ppo_against_the_checker_has_no_reward_model(tmp_path: Path) -> None:
    report = check(tmp_path, kind="ppo", reward_model={"kind": "product_world"})
    assert report.rounds is not None
    assert report.rounds_memory is not None
    assert (report.rounds.reward_model_steps, report.rounds.warm_up_steps) == (0, None)
    memory = report.rounds_memory
    assert (memory.reward_model, memory.anchor, memory.teaching, memory.warm_up) == (0, 0, 0, 0)


def test_what_would_be_refused_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="PPO and GAPO train in one process"):
        check(tmp_path, launch={"processes": 2})
    with pytest.raises(InvalidInput, match="exceed 1 together"):
        check(tmp_path, generated_share=0.75)
    with pytest.raises(NotFound, match="warmed"):
        check(tmp_path, reward_model={"path": "warmed"})
    same = write(tmp_path / "same.jsonl", [{"prompt": "p", "perturbed_prompt": "p", "response": "r"}])
    with pytest.raises(InvalidInput, match=r"same.jsonl, row 1: the perturbed prompt is equal to the prompt"):
        check(tmp_path, data={"path": str(same)})
    good = write(tmp_path / "good.jsonl", [{"prompt": "p", "chosen": "r", "rejected": "s"}])
    other = write(tmp_path / "other.jsonl", [{"prompt": "p", "perturbed_prompt": "q", "response": "r"}])
    with pytest.raises(InvalidInput, match=r"\(held out\), row 1: preferential responses share one prompt"):
        check(tmp_path, data={"path": str(good), "validation": str(other)}, augmentation="preferential_response")


def test_what_cannot_be_known_is_said(tmp_path: Path) -> None:
    hub = {"warm_up": {"backbone": {"path": "somebody/encoder"}}}
    report = check(tmp_path, data={"path": "somebody/rows"}, policy={"path": "somebody/model"}, reward_model=hub)
    assert report.rounds is not None
    assert (report.rounds.prompts, report.rounds.warm_up_steps, report.rounds.rollouts) == (None, None, 16)
    assert report.rounds_memory is None
    assert [sentence.partition(":")[0] for sentence in report.unchecked] == ["data", "lengths", "memory", "memory"]


@pytest.mark.parametrize(
    ("trunk", "lora", "tied"),
    [
        ("separate", None, True),
        ("separate", None, False),
        ("separate", {"rank": 2}, False),
        ("shared", None, True),
        ("detached", {"rank": 2}, True),
    ],
)
def test_policy_critic_and_reference_are_counted_to_the_byte(
    trunk: str, lora: dict[str, int] | None, tied: bool, tmp_path: Path
) -> None:
    shape = Scratch.model_validate(SHAPE)
    config = shape.policy_config()
    config.tie_word_embeddings = tied
    Policy(LlamaForCausalLM(config), make_tokenizer()).save(tmp_path / "start")
    policy = {"path": str(tmp_path / "start"), "lora": lora}
    recipe = make(policy=policy, ppo={**PPO, "value": {"trunk": trunk}})
    learner = taught(recipe, tmp_path)
    memory = estimate(recipe, tmp_path)
    assert memory["policy"] == held(learner.policy.model, learner.adam)
    assert memory["critic"] == held(learner.actor_critic.critic(), learner.critic_adam)
    of_reference = sum(each.nbytes for each in learner.reference.model.parameters())
    assert memory["reference"] == (0 if lora else of_reference)


def test_the_live_reward_model_is_trained_beside_an_anchor_that_is_not(tmp_path: Path) -> None:
    recipe = make()
    memory = estimate(recipe, tmp_path)
    model = BackboneOrigin.model_validate(ENCODER).open(ArtifactStore(tmp_path), seed=0)[0].model
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert memory["anchor"] == weights
    assert memory["reward_model"] == pytest.approx(4 * weights, rel=1e-3)  # gradients, two moments, counts of steps
    frozen = estimate(make(reward_model_steps=0), tmp_path)
    assert (frozen["reward_model"], frozen["teaching"]) == (weights, 0)
    # the warm-up reads both sides of every row, 16 rows at once; a live step the 8 rows of its batch
    assert memory["warm_up"] - 4 * weights == pytest.approx(4 * memory["teaching"], rel=0.01)


def test_the_total_is_what_is_held_and_the_largest_moment(tmp_path: Path) -> None:
    memory = estimate(make(), tmp_path)
    always = sum(memory[part] for part in ("policy", "critic", "reference", "reward_model", "anchor"))
    moments = [memory[part] for part in ("sampling", "learning", "teaching")]
    assert memory["total"] == max(always + max(moments), memory["warm_up"])
    assert len(set(moments)) == 3


@pytest.mark.parametrize("trunk", ["separate", "detached"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_micro_batch_of_policy_and_critic_takes_about_what_is_counted(
    trunk: str, dtype: str, tmp_path: Path, peak_bytes: Callable[[Callable[[], None]], int]
) -> None:
    """Four texts of 64 tokens, 40 of them response; gradients appear meanwhile, which are counted apart."""
    settings = {**PPO, "minibatch": 4, "max_response_tokens": 40, "value": {"trunk": trunk}}
    policy = {"scratch": {**SHAPE, "hidden_size": 96}, "dtype": dtype}
    recipe = make(policy=policy, ppo=settings)
    actor_critic = ActorCritic(recipe.policy.open(ArtifactStore(tmp_path), seed=0)[0], recipe.ppo.value.trunk)
    mask = torch.zeros((4, 64), dtype=torch.bool)
    mask[:, 24:] = True
    batch = PairBatch(torch.randint(6, 290, (4, 64)), torch.ones((4, 64), dtype=torch.long), mask)

    def learn() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logps, values = actor_critic(batch)
        (logps.sum() + values.sum()).backward()

    measured = peak_bytes(learn)
    gradients = sum(each.grad.nbytes for each in actor_critic.parameters() if each.grad is not None)
    assert measured == pytest.approx(estimate(recipe, tmp_path)["learning"] + gradients, rel=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rollouts_keys_and_values_are_counted_to_the_byte(dtype: torch.dtype, tmp_path: Path) -> None:
    passes = passes_of(make(), tmp_path)
    policy, _ = TrainedPolicy.model_validate({"scratch": SHAPE}).open(ArtifactStore(tmp_path), seed=0)
    cache = DynamicCache(config=policy.model.config)
    with torch.no_grad(), torch.autocast("cpu", dtype, dtype != torch.float32):
        policy.model(input_ids=torch.zeros((1, 12), dtype=torch.long), past_key_values=cache)
    measured = sum(each.nbytes for layer in cache.layers for each in (layer.keys, layer.values))
    assert measured == measure_cache(passes.config, passes.build, tokens=12, compute_dtype=dtype)
    assert measured >= 2 * 2 * 12 * 32 * dtype.itemsize  # keys and values of two layers


@pytest.mark.parametrize("prompt", [1, 9])
def test_a_longformers_pass_keeps_what_is_counted_with_prompts_that_attend_globally(prompt: int) -> None:
    """Windows of 8 tokens; 20 tokens are padded to 24. Shapes alone against numbers."""
    config = longformer()
    counted = measure_footprint(
        config, encoder, rows=2, tokens=20, compute_dtype=torch.float32, global_tokens=prompt
    ).activations
    model = encoder(config).train()
    attending = torch.zeros((2, 24), dtype=torch.long)
    attending[:, :prompt] = 1
    ids, mask = torch.randint(3, 90, (2, 24)), torch.ones((2, 24), dtype=torch.long)
    kept = saved_bytes(
        model, lambda: model.base_model(input_ids=ids, attention_mask=mask, global_attention_mask=attending)
    )
    assert counted.held(recomputed=False) == pytest.approx(kept, rel=0.02)


def test_longformers_memory_grows_with_the_prompt_that_attends_globally() -> None:
    def kept(tokens: int) -> int:
        return measure_footprint(
            longformer(), encoder, rows=2, tokens=24, compute_dtype=torch.float32, global_tokens=tokens
        ).activations.held(recomputed=False)

    assert kept(4) < kept(8) < kept(16)


def test_the_table_tells_what_is_held_from_what_comes_by_turns(tmp_path: Path) -> None:
    console = Console(record=True, width=160, highlight=False)
    print_dry_run(check(tmp_path), console)
    said = console.export_text()
    for words in (
        "7 of 16 responses to 40 different prompts, 4 at once",
        "at most 160 sampled in a round",
        "63 of the policy, 7 of the scorer (6 before the rounds)",
        "one after the other",
        "anchor",
        "up to 16 as memory allows; the warm-up by itself",
    ):
        assert words in said


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def passes_of(recipe: RoundsRecipe, tmp_path: Path) -> Passes:
    config = recipe.policy.shape(ArtifactStore(tmp_path))
    assert config is not None
    return policy_passes(recipe, config)


def estimate(recipe: RoundsRecipe, tmp_path: Path) -> dict[str, int]:
    scorer, _ = find_scorer(recipe, ArtifactStore(tmp_path))
    return estimate_rounds(recipe, passes_of(recipe, tmp_path), scorer).model_dump()


def taught(recipe: RoundsRecipe, tmp_path: Path) -> PPOLearner:
    """After one pass, whose last gradients were cleared."""
    policy, another = (recipe.policy.open(ArtifactStore(tmp_path), seed=0)[0] for _ in range(2))
    reference = AdaptersOffPolicy(policy) if recipe.policy.lora else another
    settings: PPOSettings = recipe.ppo
    learner = PPOLearner(policy, reference, settings, OptimizerSettings(learning_rate=1e-3), passes=1, seed=0)
    prompts = PromptRounds(policy, recipe.data.prompts(), settings, 0)
    rollouts = learner.sample(prompts.of_pass(0), 0)
    learner.learn(rollouts, [float(n % 2) for n in range(len(rollouts))], 0)
    return learner


def held(network: nn.Module, adam: torch.optim.Optimizer) -> int:
    """Weights, the moments there are, and a gradient for each weight that has them."""
    moments = [value for state in adam.state.values() for value in state.values() if isinstance(value, Tensor)]
    gradients = sum(parameter.nbytes for parameter in adam.state)
    return sum(each.nbytes for each in network.parameters()) + gradients + sum(each.nbytes for each in moments)


def longformer() -> LongformerConfig:
    return LongformerConfig(
        attention_window=[8, 8],
        vocab_size=90,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=66,
        type_vocab_size=1,
        sep_token_id=2,
        num_labels=1,
    )


def encoder(config: Any) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return model


def saved_bytes(model: nn.Module, run: Any) -> int:
    """What autograd saves in a pass, once for every storage, weights apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, tuple[int, Tensor]] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved.setdefault(storage.data_ptr(), (storage.nbytes(), tensor))
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    return sum(size for size, _ in saved.values())

"""The estimate is held to what training takes: exactly where that can be counted, closely where it is measured."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PretrainedConfig, PreTrainedModel

from trainer.adversarial.settings import Adversarial
from trainer.data.product_world import make_tokenizer
from trainer.dry_run.memory import Passes, estimate_memory
from trainer.models.discriminators import LinearDiscriminator
from trainer.models.footprint import Activations, measure_footprint
from trainer.models.lora import LoRA, add_adapters
from trainer.models.policy import PairBatch, Policy

ROWS, TOKENS, RESPONSE = 4, 160, 40
SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
}
LLAMA = LlamaConfig(tie_word_embeddings=False, **SHAPE)
GEMMA = Gemma2Config(**SHAPE)


def whole(config: PretrainedConfig) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def adapted(config: PretrainedConfig) -> PreTrainedModel:
    model = whole(config)
    add_adapters(model, LoRA(rank=4), seed=0)
    return model


def passes(config: PretrainedConfig, **changes: Any) -> Passes:
    settings: dict[str, Any] = {
        "config": config,
        "build": whole,
        "rows": ROWS,
        "tokens": TOKENS,
        "response_tokens": RESPONSE,
        "compute_dtype": torch.float32,
        "predicts": True,
        "copied_reference": False,
        "adversarial": None,
        "recomputes": False,
        "accumulates": False,
        "processes": 1,
    }
    return Passes(**{**settings, **changes})


def batch() -> PairBatch:
    mask = torch.ones(ROWS, TOKENS, dtype=torch.long)
    mask[1:, -8:] = 0  # padded, as real batches are
    response = torch.zeros(ROWS, TOKENS, dtype=torch.bool)
    response[:, -RESPONSE:] = True
    return PairBatch(torch.randint(3, 300, (ROWS, TOKENS)), mask, response & mask.bool())


@pytest.mark.parametrize(("config", "build"), [(LLAMA, adapted), (GEMMA, whole)], ids=["llama adapted", "gemma2"])
def test_weights_gradients_and_moments_are_counted_to_the_byte(
    config: PretrainedConfig, build: Callable[[PretrainedConfig], PreTrainedModel]
) -> None:
    estimate = estimate_memory(passes(config, build=build))[0].estimate
    policy = Policy(build(config), make_tokenizer())
    parameters = list(policy.model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    adam = torch.optim.AdamW(trained)
    policy.network(batch())[1].sum().backward()
    adam.step()
    assert estimate.weights == sum(parameter.nbytes for parameter in parameters)
    assert estimate.gradients == sum(parameter.grad.nbytes for parameter in trained if parameter.grad is not None)
    assert estimate.optimizer == sum(
        value.nbytes for state in adam.state.values() for value in state.values() if isinstance(value, Tensor)
    )


@pytest.mark.parametrize(
    ("config", "build", "dtype", "recomputes", "within"),
    [
        (LLAMA, whole, torch.bfloat16, False, 0.15),
        (GEMMA, adapted, torch.float32, False, 0.15),
        (GEMMA, whole, torch.bfloat16, True, 0.3),
        (LLAMA, adapted, torch.float32, True, 0.3),
    ],
)
def test_a_pass_takes_about_what_the_estimate_says(
    config: PretrainedConfig,
    build: Callable[[PretrainedConfig], PreTrainedModel],
    dtype: torch.dtype,
    recomputes: bool,
    within: float,
    peak_bytes: Callable[[Callable[[], None]], int],
) -> None:
    """Peak of what the CPU's allocator handed out during forward and backward, against the parts held in between."""
    plan = passes(config, build=build, recomputes=recomputes, compute_dtype=dtype)
    estimate = estimate_memory(plan)[0].estimate
    policy = Policy(build(config), make_tokenizer())
    if recomputes:
        enable = getattr(policy.model, "activation_checkpointing_enable", None)
        (enable or policy.model.gradient_checkpointing_enable)({"use_reentrant": False})
    policy.network.train()
    rows = batch()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logps = policy.network(rows)[1]
        logps.sum().backward()

    measured = peak_bytes(step)
    weights = sum(parameter.nbytes for parameter in policy.model.parameters())
    expected = estimate.total - weights - estimate.optimizer
    assert measured == pytest.approx(expected, rel=within)


def test_recomputing_keeps_every_layers_input_and_the_inside_of_one() -> None:
    activations = Activations(layers=(50, 70, 60), inputs=30, outside=5, weight_copies=0)
    assert activations.held(recomputed=False) == 50 + 70 + 60 + 5
    assert activations.held(recomputed=True) == 30 + 70 + 5


def test_activations_grow_with_rows_and_what_a_layer_keeps_is_counted_once_per_layer() -> None:
    def kept(rows: int, layers: int) -> Activations:
        config = LlamaConfig(**{**SHAPE, "num_hidden_layers": layers})
        return measure_footprint(config, whole, rows=rows, tokens=64, compute_dtype=torch.float32).activations

    one, two, deep = kept(2, 2), kept(4, 2), kept(2, 5)
    assert two.inputs == 2 * one.inputs == 2 * 2 * (2 * 64 * 128 * 4)  # two layers' inputs of 2 x 64 x 128 floats
    assert len(deep.layers) == 5
    assert deep.layers[1] == one.layers[1]
    assert sum(two.layers) == pytest.approx(2 * sum(one.layers), rel=0.02)


def test_sharding_divides_what_moves_and_gathers_what_is_at_work() -> None:
    plain, sharded = estimate_memory(passes(LLAMA, processes=4, compute_dtype=torch.bfloat16, accumulates=True))
    parameters = plain.estimate.gradients // 4
    layer = 128 * (128 + 64 + 64 + 128) + 3 * 128 * 256 + 2 * 128  # attention, feed-forward, two norms
    outside = 2 * 300 * 128 + 128  # embeddings, head and the last norm
    assert parameters == 3 * layer + outside
    assert sharded.estimate.weights == parameters + 2 * (outside + 2 * layer)
    assert sharded.estimate.gradients == parameters + 2 * parameters  # a shard, and all in bfloat16 until exchanged
    assert sharded.estimate.optimizer == pytest.approx(2 * parameters, rel=0.001)
    assert sharded.estimate.activations == plain.estimate.activations


def test_a_reference_is_a_second_set_of_weights_in_the_computed_precision_and_two_discriminators_are_trained() -> None:
    adversarial = Adversarial(discriminator=LinearDiscriminator())
    plan = passes(LLAMA, compute_dtype=torch.bfloat16, copied_reference=True, adversarial=adversarial)
    estimate = estimate_memory(plan)[0].estimate
    assert estimate.reference == 2 * plan.footprint.parameters
    network = LinearDiscriminator().build(128)
    trained = sum(parameter.numel() for parameter in network.parameters())
    assert estimate.discriminators > 2 * 16 * trained
    assert estimate_memory(passes(LLAMA))[0].estimate.discriminators == 0

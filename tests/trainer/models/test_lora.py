"""Adapters: nothing but they is trained, without them the policy is its reference, and they are published merged."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from trainer.data.product_world import make_tokenizer
from trainer.errors import InvalidInput
from trainer.models.lora import LoRA, adapters_off, add_adapters
from trainer.models.policy import Policy, collate
from trainer.models.starting_point import Scratch, TrainedPolicy

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


def make_policy(architecture: str) -> Policy:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model: PreTrainedModel
    if architecture == "llama":  # as Llama-3-8B: an output layer of its own
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=False, **SHAPE))
    else:  # as Gemma-2-2B: embeddings tied, logits soft-capped
        model = Gemma2ForCausalLM(Gemma2Config(vocab_size=len(tokenizer), sliding_window=8, **SHAPE))
    return Policy(model.eval(), tokenizer)


def trained(policy: Policy, steps: int = 5) -> None:
    """Move what can be moved, far enough to tell."""
    parameters = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.05)
    batch = pairs(policy)
    policy.network.train()
    for _ in range(steps):
        loss = -policy.network(batch)[1].sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    policy.network.eval()


def pairs(policy: Policy):  # type: ignore[no-untyped-def]  # noqa: ANN201
    rows = [policy.encode("name : desk .", "a desk ."), policy.encode("name : red chair .", "a chair in red .")]
    return collate(rows, policy.pad_id)


@pytest.fixture(params=["llama", "gemma2"])
def policy(request: pytest.FixtureRequest) -> Policy:
    return make_policy(request.param)


@pytest.mark.parametrize("targets", [None, "all-linear", ("o_proj", "down_proj")])
def test_adapters_alone_are_trained_and_with_them_off_the_policy_is_bit_for_bit_what_it_was(
    policy: Policy, targets: tuple[str, ...] | str | None
) -> None:
    batch = pairs(policy)
    before = policy.logps(batch).detach()
    weights = {name: weight.clone() for name, weight in policy.model.named_parameters()}
    add_adapters(policy.model, LoRA(rank=2, alpha=4, target_modules=targets), seed=0)
    assert torch.equal(policy.logps(batch), before)
    trained(policy)
    for name, parameter in policy.model.named_parameters():
        assert parameter.requires_grad == (".lora_" in name)
        if ".lora_" not in name:
            assert torch.equal(parameter, weights[name.replace(".base_layer", "")])
    assert (policy.logps(batch) - before).abs().max() > 0.01
    with torch.no_grad(), adapters_off(policy):
        assert torch.equal(policy.logps(batch), before)
    assert (policy.logps(batch) - before).abs().max() > 0.01


def test_the_reference_inside_owns_no_weights_and_leaves_the_gradients_of_a_pass_before_it_alone(
    policy: Policy,
) -> None:
    add_adapters(policy.model, LoRA(rank=2, dropout=0.5), seed=0)
    batch = pairs(policy)
    pointers = [parameter.data_ptr() for parameter in policy.model.parameters()]
    policy.network.train()
    torch.manual_seed(1)
    policy.network(batch)[1].sum().backward()
    expected = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    assert len(expected) == 2 * 2 * 2  # A and B beside query and value of two layers
    policy.model.zero_grad()
    torch.manual_seed(1)
    logps = policy.network(batch)[1]
    with torch.no_grad(), adapters_off(policy):
        assert not policy.model.training  # dropout must not touch a reference
        assert [parameter.data_ptr() for parameter in policy.model.parameters()] == pointers
        policy.logps(batch)
    assert policy.model.training
    logps.sum().backward()
    found = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_a_published_policy_is_plain_files_with_the_adapters_in_the_weights_and_training_goes_on(
    policy: Policy, targets: str | None, tmp_path: Path
) -> None:
    add_adapters(policy.model, LoRA(rank=2, alpha=4, target_modules=targets), seed=0)
    trained(policy)
    batch = pairs(policy)
    expected = policy.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    state = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    policy.save(tmp_path)
    plain, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True, local_files_only=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert type(plain) is type(policy.model)
    assert sorted(file.name for file in tmp_path.iterdir() if "adapter" in file.name) == []
    logits = plain.eval()(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert all(torch.equal(tensor, state[name]) for name, tensor in policy.model.state_dict().items())
    trained(policy, steps=1)


def test_recomputing_activations_gives_the_adapters_the_same_gradients(policy: Policy) -> None:
    add_adapters(policy.model, LoRA(rank=2, target_modules="all-linear"), seed=0)
    trained(policy, steps=1)  # B starts at zero, where A has no gradient
    batch = pairs(policy)
    gradients = []
    for recompute in (False, True):
        if recompute:
            enable = getattr(policy.model, "activation_checkpointing_enable", None)
            (enable or policy.model.gradient_checkpointing_enable)()
        policy.network.train()
        policy.model.zero_grad()
        policy.network(batch)[1].sum().backward()
        gradients.append([p.grad.clone() for p in policy.model.parameters() if p.grad is not None])
    assert len(gradients[0]) == 2 * 2 * 7  # A and B beside seven matrices of two layers
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(recomputed, plain)


def test_adapters_are_a_function_of_the_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        policy = make_policy("llama")
        add_adapters(policy.model, LoRA(rank=2), seed)
        return next(weight for name, weight in policy.model.named_parameters() if "lora_A" in name)

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_layers_that_do_not_exist_are_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidInput, match="which are down_proj, gate_proj, k_proj, lm_head, o_proj") as caught:
        add_adapters(make_policy("llama").model, LoRA(target_modules=("c_attn",)), seed=0)
    assert caught.value.pointer == "/policy/lora/target_modules"


def test_a_recipe_asks_for_adapters_by_their_rank(tmp_path: Path) -> None:
    from trainer.artifacts import ArtifactStore

    origin = TrainedPolicy.model_validate({"scratch": Scratch(hidden_size=32, layers=1, heads=2), "lora": {"rank": 4}})
    policy, _ = origin.open(ArtifactStore(tmp_path), seed=0)
    trainable = sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
    assert trainable == 2 * (4 * 32 + 32 * 4)  # A (rank, in) and B (out, rank) beside query and value

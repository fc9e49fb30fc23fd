"""Log-probabilities made in chunks are those of the model's own full forward, whatever its head does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from trainer.data.text import Encoded
from trainer.errors import InvalidInput
from trainer.models import language_head
from trainer.models.language_head import LogitMap, label_logps, measure_logit_map
from trainer.models.policy import PairBatch, PolicyNetwork, collate

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, tuple[Callable[[], PreTrainedConfig], LogitMap]] = {
    "llama": (lambda: LlamaConfig(**SHAPE), LogitMap()),
    "qwen3, tied": (lambda: Qwen3Config(**SHAPE, head_dim=8, tie_word_embeddings=True), LogitMap()),
    "gemma-2, capped": (lambda: Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=2.0), LogitMap(1.0, 2.0)),
    "gpt-2": (
        lambda: GPT2Config(
            vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2
        ),
        LogitMap(),
    ),
    "phi, with bias": (lambda: PhiConfig(**SHAPE), LogitMap()),
    "cohere, scaled": (lambda: CohereConfig(**SHAPE, logit_scale=0.25), LogitMap(0.25)),
    "granite, divided": (lambda: GraniteConfig(**SHAPE, logits_scaling=8.0), LogitMap(0.125)),
}
ROWS = [Encoded([5, 6, 7, 8, 9, 10, 2], 4), Encoded([11, 12, 13, 2], 1), Encoded([14, 15, 16, 17, 18], 4)]


def random_model(family: str, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(FAMILIES[family][0]()).eval()
    with torch.no_grad():  # logits of a few units, so that a cap of 2 and a scale of 1/8 matter
        for name, parameter in model.named_parameters():
            if "norm" not in name and "ln_" not in name:
                parameter.normal_(std=0.3)
    return model


def plain_logps(model: PreTrainedModel, batch: PairBatch) -> Tensor:
    """The definition, on all logits of the model's own forward."""
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1].float()
    logps = torch.log_softmax(logits, dim=-1).gather(2, batch.input_ids[:, 1:, None])[..., 0]
    return nn.functional.pad(logps * batch.response_mask[:, 1:], (1, 0))


def gradients(model: PreTrainedModel, logps: Tensor) -> dict[str, Tensor]:
    weights = torch.linspace(-1, 2, logps.numel()).view_as(logps)
    model.zero_grad()
    (logps * weights).sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_logps_and_gradients_are_those_of_the_models_own_logits(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_head, "CHUNK_ROWS", 3)  # 8 response tokens make chunks of 3, 3 and 2
    monkeypatch.setattr(language_head, "CHUNK_LOGITS", 0)
    model, batch = random_model(family), collate(ROWS, 0)
    hidden, ours = PolicyNetwork(model)(batch)
    theirs = plain_logps(model, batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert hidden.shape == (3, 7, 32)
    assert int((ours != 0).sum()) == 7  # 3 + 3 + 1
    expected, found = gradients(model, theirs), gradients(model, ours)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_an_architecture_does_to_its_logits_is_measured(family: str) -> None:
    found, expected = measure_logit_map(random_model(family)), FAMILIES[family][1]
    assert found.scale == pytest.approx(expected.scale, rel=1e-6)
    assert found.softcap == (None if expected.softcap is None else pytest.approx(expected.softcap, rel=1e-6))


def test_an_unknown_map_of_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama")
    forward = type(model).forward

    def squared(*arguments: Any, **named: Any) -> Any:
        output = forward(*arguments, **named)
        output.logits = output.logits**2
        return output

    monkeypatch.setattr(type(model), "forward", squared)
    with pytest.raises(InvalidInput, match="LlamaForCausalLM makes its logits in a way that is not known"):
        PolicyNetwork(model)


def test_a_head_that_reads_other_than_the_last_hidden_states_is_refused() -> None:
    model = random_model("llama")
    model.lm_head.register_forward_pre_hook(lambda _, inputs: (inputs[0] / 2,))
    with pytest.raises(InvalidInput, match="not known"):
        PolicyNetwork(model)


def test_a_head_with_an_adapter_is_refused_rather_than_left_out() -> None:
    with pytest.raises(InvalidInput, match="leave it out of the adapter"):
        label_logps(nn.Sequential(nn.Linear(4, 5)), LogitMap(), torch.zeros(1, 4), torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 8])
def test_chunk_boundaries_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two logits: p = sigma(+-2x). By hand, log p(0) at x = 0.5 k is -log(1 + exp(-k))."""
    monkeypatch.setattr(language_head, "CHUNK_ROWS", rows)
    monkeypatch.setattr(language_head, "CHUNK_LOGITS", 0)
    head = nn.Linear(1, 2, bias=False)
    head.weight.data = torch.tensor([[1.0], [-1.0]])
    x = (torch.arange(8.0) / 2)[:, None].requires_grad_()
    logps = label_logps(head, LogitMap(), x, torch.zeros(8, dtype=torch.long))
    logps.sum().backward()
    k = torch.arange(8.0)
    torch.testing.assert_close(logps, -torch.log1p(torch.exp(-k)))
    assert x.grad is not None
    torch.testing.assert_close(x.grad[:, 0], 2 * torch.sigmoid(-k))
    assert head.weight.grad is not None
    by_hand = float((0.5 * k * torch.sigmoid(-k)).sum())
    torch.testing.assert_close(head.weight.grad[:, 0], torch.tensor([by_hand, -by_hand]))


def test_under_autocast_products_are_bfloat16_and_the_rest_float32() -> None:
    torch.manual_seed(0)
    head, hidden, labels = nn.Linear(16, 50, bias=False), torch.randn(9, 16), torch.randint(50, (9,))
    with torch.autocast("cpu", torch.bfloat16):
        ours = label_logps(head, LogitMap(2.0, 5.0), hidden, labels)
    ours.sum().backward()
    rounded = (hidden.bfloat16() @ head.weight.detach().bfloat16().T).float()
    exact = torch.log_softmax(5 * torch.tanh(2 * rounded / 5), dim=-1).gather(1, labels[:, None])[:, 0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.detach(), exact, rtol=1e-6, atol=1e-6)
    found, head.weight.grad = head.weight.grad, None
    assert found is not None
    assert found.dtype == torch.float32
    capped = 5 * torch.tanh(2 * nn.functional.linear(hidden, head.weight) / 5)
    torch.log_softmax(capped, dim=-1).gather(1, labels[:, None]).sum().backward()
    assert head.weight.grad is not None
    assert float((found - head.weight.grad).norm() / head.weight.grad.norm()) < 0.01


def test_a_bfloat16_model_scores_in_float32() -> None:
    model = random_model("gemma-2, capped").bfloat16()
    batch = collate(ROWS, 0)
    ours = PolicyNetwork(model)(batch)[1]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain_logps(model, batch), rtol=0.03, atol=0.05)


def test_a_frozen_head_gets_no_gradient_and_the_backbone_does() -> None:
    model = random_model("llama")
    model.lm_head.weight.requires_grad_(False)
    batch = collate(ROWS, 0)
    found = gradients(model, PolicyNetwork(model)(batch)[1])
    assert "lm_head.weight" not in found
    assert float(found["model.embed_tokens.weight"].abs().sum()) > 0


def test_a_response_without_a_prompt_is_scored_from_its_second_token_on() -> None:
    model, batch = random_model("llama"), collate([Encoded([5, 6, 7], 0)], 0)
    logps = PolicyNetwork(model)(batch)[1]
    torch.testing.assert_close(logps, plain_logps(model, batch))
    assert (logps[0] != 0).tolist() == [False, True, True]


def test_a_batch_without_a_response_has_no_logps_and_zero_gradients() -> None:
    model, batch = random_model("llama"), collate([Encoded([5, 6, 7], 3)], 0)
    logps = PolicyNetwork(model)(batch)[1]
    assert logps.tolist() == [[0, 0, 0]]
    assert all(float(value.abs().max()) == 0 for value in gradients(model, logps).values())


def test_another_response_mask_is_another_set_of_predictions() -> None:
    batch = collate(ROWS[1:2], 0).to(torch.device("cpu"))
    assert batch.predicted.tolist() == [1, 2, 3]
    assert replace(batch, response_mask=torch.tensor([[True, False, True, False]])).predicted.tolist() == [2]


def test_padding_changes_no_log_probability() -> None:
    network = PolicyNetwork(random_model("gemma-2, capped"))
    alone = network(collate(ROWS[1:2], 0))[1][0]
    beside = network(collate(ROWS, 0))[1][1]
    torch.testing.assert_close(beside[:4], alone, rtol=1e-5, atol=1e-5)
    assert beside[4:].tolist() == [0, 0, 0]

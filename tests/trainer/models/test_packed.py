"""Texts in one line: none attends to another, scores are those of each text alone, and training is left as it was."""

import inspect
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from torch.nn.attention import varlen
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BigBirdConfig,
    BloomConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    LongformerConfig,
    MistralConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    RobertaConfig,
)

from trainer.data.text import Encoded
from trainer.models import packed
from trainer.models.packed import PACKED, Line, line_being_read, reading
from trainer.models.reward_model import RewardModel
from trainer.recipes.training import recompute_activations

SHAPE: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 512, "num_labels": 1, "pad_token_id": 0,
}  # fmt: skip
GROUPED = SHAPE | {"num_key_value_heads": 2, "head_dim": 8}
NAMED = {"cls_token_id": 4, "sep_token_id": 5, "bos_token_id": 2, "eos_token_id": 3}
FAMILIES: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**SHAPE),
    "roberta": RobertaConfig(**SHAPE | {"pad_token_id": 1}),
    "electra": ElectraConfig(**SHAPE, embedding_size=8),
    "distilbert": DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32, num_labels=1),
    "modernbert": ModernBertConfig(**SHAPE, **NAMED, local_attention=16),  # 8 tokens to either side, but in one layer
    "llama": LlamaConfig(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED),
    "gpt2": GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, num_labels=1, pad_token_id=0),
    "mistral": MistralConfig(**GROUPED, sliding_window=8),
    "gemma3": Gemma3TextConfig(**GROUPED, sliding_window=8),
}
DECODERS = ("llama", "qwen3", "gpt2", "mistral", "gemma3")
CASES = [(family, "mean") for family in FAMILIES] + [
    (family, "last_token" if family in DECODERS else "cls") for family in FAMILIES
]
LENGTHS = (7, 1, 40, 12, 7, 2, 25)
Pooling = Literal["cls", "mean", "last_token"]


def network_of(config: PretrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        type(config)(**config.to_dict()), attn_implementation=config._attn_implementation
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def scorer(
    config: PretrainedConfig, pooling: str, max_tokens: int = 200, change: Callable[[Any], None] = lambda _: None
) -> RewardModel:
    network = network_of(config)
    change(network)
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
    decoder = pooling == "last_token" or config.model_type in ("llama", "qwen3", "gpt2", "mistral", "gemma3_text")
    return RewardModel(
        network, tokenizer, architecture="decoder" if decoder else "encoder",
        pooling=cast(Pooling, pooling), max_tokens=max_tokens,
    )  # fmt: skip


def texts(model: RewardModel, lengths: Sequence[int] = LENGTHS) -> list[Encoded]:
    torch.manual_seed(1)
    rows = [torch.randint(5, 50, (length,)).tolist() for length in lengths]
    types = model.network.reads_token_types
    return [Encoded(ids, 0, [int(place > 3) for place in range(len(ids))] if types else None) for ids in rows]


@torch.no_grad()
def alone(model: RewardModel, rows: Sequence[Encoded]) -> Tensor:
    return torch.cat([model.network(model.collate([row])) for row in rows])


@pytest.mark.parametrize(("family", "pooling"), CASES)
def test_a_score_is_that_of_the_text_alone_whatever_stands_beside_it(family: str, pooling: str) -> None:
    model = scorer(FAMILIES[family], pooling)
    rows = texts(model)
    expected = alone(model, rows)
    assert expected.std() > 5e-4

    assert model.longest_packed == 2**31
    assert model.model.config._attn_implementation == PACKED

    for order in (range(7), range(6, -1, -1), (3,), (2, 2, 0)):
        found = model.score([rows[i] for i in order])[:, 0]
        assert (found - expected[list(order)]).abs().max() <= 1e-6


def test_a_line_computes_no_position_that_holds_no_token() -> None:
    model = scorer(FAMILIES["bert"], "cls")
    assert model.longest_packed
    shapes: list[tuple[int, ...]] = []
    for layer in model.model.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, inputs, __: shapes.append(tuple(inputs[0].shape)))
    model.score(texts(model))
    # 94 tokens of seven texts, and of those in the last layer what the head reads
    assert shapes == [(1, 94, 16), (1, 94, 16), (7, 1, 16)]


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (AlbertConfig(**SHAPE, embedding_size=8), "cls"),  # pools within its backbone, behind shared layers
        (DebertaV2Config(**SHAPE), "cls"),
        (LongformerConfig(**SHAPE, attention_window=8), "mean"),
        (BigBirdConfig(**SHAPE, attention_type="block_sparse", block_size=4, num_random_blocks=1), "cls"),
        (BloomConfig(vocab_size=50, hidden_size=16, n_layer=2, n_head=4, num_labels=1), "last_token"),
        (FalconConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_labels=1), "mean"),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_what_cannot_read_lines_is_padded_as_before(config: PretrainedConfig, pooling: str) -> None:
    model = scorer(config, pooling)
    attention = model.model.config._attn_implementation
    rows = texts(model)
    with torch.no_grad():
        padded = model.network(model.collate(rows))

    assert model.longest_packed == 0
    assert model.model.config._attn_implementation == attention
    assert torch.equal(model.score(rows)[:, 0], padded)


def mixing_tokens(model: Any) -> None:
    model.bert.encoder.layer[1].register_forward_hook(lambda _, __, states: states + states.mean(1, keepdim=True))


def pooling_by_itself(model: Any) -> None:
    model.bert.pooler.forward = lambda states: states.mean(dim=1)


def attending_by_itself(model: Any) -> None:
    attention = model.bert.encoder.layer[0].attention.self
    attention.forward = lambda states, *_, **__: (attention.value(states), None)


@pytest.mark.parametrize("odd", [mixing_tokens, pooling_by_itself, attending_by_itself])
def test_a_network_that_is_not_what_it_seems_is_found_out(odd: Any) -> None:
    model = scorer(FAMILIES["bert"], "cls", change=odd)
    assert model.longest_packed == 0


def test_texts_longer_than_a_window_that_was_not_tried_are_padded() -> None:
    model = scorer(MistralConfig(**GROUPED, sliding_window=130), "last_token")
    rows = texts(model, (20, 130, 140))
    expected = alone(model, rows)
    assert model.longest_packed == 130

    read: list[tuple[int, ...]] = []
    model.model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: read.append(tuple(inputs[0].shape)))
    for some in (rows[:2], rows):
        assert torch.allclose(model.score(some)[:, 0], expected[: len(some)], rtol=0, atol=1e-4)
    assert read == [(1, 150), (3, 140)]


def test_roberta_counts_no_position_for_a_padding_token_within_a_text() -> None:
    model = scorer(FAMILIES["roberta"], "mean")
    rows = [Encoded([5, 1, 7, 8], 0), Encoded([9, 1, 1, 6], 0)]
    assert model.longest_packed

    assert Line(rows, torch.device("cpu"), 1).inputs["position_ids"].tolist() == [[2, 1, 3, 4, 2, 1, 1, 3]]
    assert torch.allclose(model.score(rows)[:, 0], alone(model, rows), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("family", "pooling"), [("bert", "cls"), ("modernbert", "cls"), ("llama", "last_token")])
def test_training_computes_the_same_bits_as_ever(family: str, pooling: str) -> None:
    usual, ours = scorer(FAMILIES[family], pooling), scorer(FAMILIES[family], pooling)
    rows = texts(usual)
    ours.score(rows)
    assert ours.model.config._attn_implementation == PACKED
    for model in (usual, ours):
        torch.manual_seed(2)
        model.model.train()
        recompute_activations(model.model)
        model.network(model.collate(rows)).square().sum().backward()
    for expected, found in zip(usual.model.parameters(), ours.model.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None)
        assert found.grad is None or torch.equal(found.grad, expected.grad)


def test_a_network_in_training_is_padded() -> None:
    model = scorer(FAMILIES["bert"], "cls")
    rows = texts(model)
    model.score(rows)
    model.model.train()
    torch.manual_seed(3)
    dropped = model.score(rows)
    torch.manual_seed(3)
    assert torch.equal(dropped[:, 0], model.network(model.collate(rows)).detach())


def test_other_threads_read_what_they_like_meanwhile() -> None:
    model = scorer(FAMILIES["bert"], "cls")
    rows = texts(model)
    expected = alone(model, rows)
    assert model.longest_packed
    found: list[Tensor] = []
    with reading(model._in_line(rows[:2])):
        thread = threading.Thread(target=lambda: found.append(alone(model, rows)))
        thread.start()
        thread.join()
    assert torch.equal(found[0], expected)
    assert line_being_read() is None


def test_files_name_no_attention_of_ours(tmp_path: Path) -> None:
    model = scorer(FAMILIES["bert"], "cls")
    rows = texts(model)
    scores = model.score(rows)
    model.save(tmp_path)
    assert PACKED not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.config._attn_implementation == "sdpa"
    with torch.no_grad():
        logits = torch.cat([plain(**model.collate([row])).logits for row in rows])
    assert torch.allclose(logits, scores, rtol=0, atol=1e-5)


def by_the_book(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, key_starts: Tensor, longest: int, longest_key: int,
    *, scale: float, window_size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """``varlen_attn`` of (tokens, heads, width) as its documentation has it: a window reaches so far to either side."""
    assert starts.dtype == key_starts.dtype == torch.int32
    assert longest == longest_key == int(starts.diff().max())
    found = torch.zeros_like(query)
    left, right = (10**6 if reach < 0 else reach for reach in window_size)
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        for place in range(start, end):
            seen = slice(max(start, place - left), min(end, place + right + 1))
            weights = torch.softmax(torch.einsum("hw,khw->hk", query[place], key[seen]) * scale, dim=1)
            found[place] = torch.einsum("hk,khw->hw", weights, value[seen])
    return found


@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 4), (True, 4)])
def test_the_kernel_for_cuda_is_asked_for_the_same_attention(
    monkeypatch: pytest.MonkeyPatch, causal: bool, window: int | None
) -> None:
    arguments = inspect.signature(varlen.varlen_attn)
    monkeypatch.setattr(varlen, "varlen_attn", lambda *a, **k: by_the_book(*arguments.bind(*a, **k).args, **k))
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, 14, 8), torch.randn(1, 2, 14, 8), torch.randn(1, 2, 14, 8)
    line = Line([Encoded([1] * length, 0) for length in (9, 1, 4)], torch.device("cpu"))
    distance = torch.arange(9)[:, None] - torch.arange(9)
    reach = 9 if window is None else window
    seen = (distance.abs() < reach) & ((distance >= 0) | (not causal))
    masks = {length: seen[None, None, :length, :length] for length in (9, 1, 4)}
    module = SimpleNamespace(is_causal=causal, num_key_value_groups=2)

    with reading(line):
        expected, _ = packed._attend(cast(Any, module), query, key, value, masks, scaling=0.3)
    found = packed._attend_by_varlen(
        line, cast(Any, module), query, key, value, scaling=0.3, sliding_window=window, dropout=0.0
    )

    assert found.shape == (1, 14, 4, 8)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)

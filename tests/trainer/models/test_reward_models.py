"""Reward models of the common architectures: one forward for all, deaf to padding, with no weight trained in vain."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    LongformerConfig,
    MambaConfig,
    ModernBertConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

from trainer.data.product_world import make_tokenizer, render_prompt, sample_examples
from trainer.errors import InvalidInput
from trainer.models.reward_model import RewardModel

# earlier transformers script parts of DeBERTa, which later torch warns of
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
PAIRS = [(render_prompt(e.task), e.response) for e in sample_examples("test", 6, seed=0)]
WINDOW = 96
VOCABULARY = len(make_tokenizer())
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": WINDOW,
    "num_labels": 1,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
QUIET = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GROUPED = {**SHAPE, "num_key_value_heads": 1, "head_dim": 8}

ENCODERS: dict[str, Callable[[], PretrainedConfig]] = {
    "bert": lambda: BertConfig(**SHAPE, **QUIET),
    "roberta": lambda: RobertaConfig(**SHAPE, **QUIET, type_vocab_size=1),
    "deberta-v2": lambda: DebertaV2Config(
        **SHAPE, **QUIET, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, pooler_hidden_size=16
    ),
    "modernbert": lambda: ModernBertConfig(**SHAPE, cls_token_id=4, sep_token_id=5, classifier_pooling="mean"),
    "longformer": lambda: LongformerConfig(**SHAPE, **QUIET, attention_window=16, type_vocab_size=1),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=WINDOW,
        dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, pad_token_id=0, num_labels=1,
    ),
}  # fmt: skip
DECODERS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "qwen2": lambda: Qwen2Config(**SHAPE, num_key_value_heads=1),
    "qwen3": lambda: Qwen3Config(**GROUPED),
    "gemma2": lambda: Gemma2Config(**GROUPED, sliding_window=16, query_pre_attn_scalar=8),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=WINDOW, num_labels=1, pad_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=2, eos_token_id=3,
    ),
}  # fmt: skip
CASES = [
    *((name, pooling) for name in ENCODERS for pooling in ("cls", "mean")),
    *((name, "last_token") for name in DECODERS),
    ("llama", "mean"),
]


def build(name: str, pooling: Any) -> RewardModel:
    torch.manual_seed(0)
    config = {**ENCODERS, **DECODERS}[name]()
    model = AutoModelForSequenceClassification.from_config(config).eval()
    for parameter in model.parameters():  # some start their head or norms at zero
        torch.nn.init.normal_(parameter, std=0.3)
    architecture: Any = "encoder" if name in ENCODERS else "decoder"
    return RewardModel(model, make_tokenizer(), architecture=architecture, pooling=pooling)


shared = cache(build)


@pytest.mark.parametrize(("name", "pooling"), CASES)
def test_a_score_does_not_depend_on_its_batch(name: str, pooling: str) -> None:
    model = shared(name, pooling)
    rows = [model.encode(*pair) for pair in PAIRS]
    assert len({row.tokens for row in rows}) > 2
    alone = torch.cat([model.score([row]) for row in rows])
    assert alone.shape == (len(PAIRS), 1)
    assert (alone - model.score(rows)).abs().max() <= min(1e-4, 0.02 * alone.std())


@pytest.mark.parametrize(("name", "pooling"), CASES)
def test_every_weight_that_is_trained_has_a_gradient(name: str, pooling: str) -> None:
    model = build(name, pooling)
    model.network(model.collate([model.encode(*pair) for pair in PAIRS])).sum().backward()
    trained = {key: weight for key, weight in model.network.named_parameters() if weight.requires_grad}
    assert [key for key, weight in trained.items() if weight.grad is None] == []
    assert len(trained) > 10


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_saved_files_score_the_same_here_and_in_plain_transformers(name: str, tmp_path: Path) -> None:
    model = shared(name, "cls" if name in ENCODERS else "last_token")
    model.save(tmp_path)
    rows = [model.encode(*pair) for pair in PAIRS[:3]]
    assert torch.allclose(RewardModel.load(tmp_path, model.details()).score(rows), model.score(rows), atol=1e-6)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        logits = plain(**model.collate(rows)).logits
    assert torch.allclose(logits, model.score(rows), atol=1e-5)


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_a_window_is_used_to_its_last_position(name: str) -> None:
    model = shared(name, "cls" if name in ENCODERS else "last_token")
    assert model.max_tokens == WINDOW - (name in ("roberta", "longformer"))  # the first place is the padding's
    row = model.encode(" ".join(["red"] * 2 * WINDOW), "color is red .", "truncate_prompt")
    assert row.tokens == model.max_tokens
    assert torch.isfinite(model.score([row])).all()
    first, last = model.tokenizer.convert_ids_to_tokens([row.input_ids[0], row.input_ids[-1]])
    assert (first, last) == (("<cls>", "<sep>") if name in ENCODERS else ("<bos>", "<eos>"))


def test_mean_and_last_token_are_of_the_hidden_states_of_real_tokens() -> None:
    for pooling in ("mean", "last_token"):
        model = shared("llama", pooling)
        row, longer = sorted((model.encode(*pair) for pair in PAIRS[:2]), key=lambda row: row.tokens)
        with torch.inference_mode():
            hidden = model.model.model(torch.tensor([row.input_ids])).last_hidden_state[0]
            pooled = hidden[-1] if pooling == "last_token" else hidden.mean(dim=0)
            expected = (model.model.score.weight[0] @ pooled).item()
        assert model.score([row, longer])[0, 0].item() == pytest.approx(expected, abs=1e-5)


def test_cls_is_the_first_token_also_where_the_configuration_says_mean() -> None:
    model = shared("modernbert", "cls")
    row = model.encode(*PAIRS[0])
    with torch.inference_mode():
        hidden = model.model.model(torch.tensor([row.input_ids])).last_hidden_state
        expected = model.model.classifier(model.model.head(hidden[:, 0])).item()
    assert model.score([row]).item() == pytest.approx(expected, abs=1e-5)


def test_the_last_token_is_found_where_padding_and_end_share_an_id(tmp_path: Path) -> None:
    usual, tokenizer = shared("gpt2", "last_token"), make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    model = RewardModel(build("gpt2", "last_token").model, tokenizer, architecture="decoder", pooling="last_token")
    rows = [model.encode(*pair) for pair in PAIRS]
    assert torch.allclose(model.score(rows), usual.score(rows), atol=1e-5)
    model.save(tmp_path)  # so does plain transformers, which looks for the first padding id
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        assert torch.allclose(plain(**model.collate(rows)).logits, usual.score(rows), atol=1e-5)


def test_a_backbone_without_a_longest_input_needs_one_named() -> None:
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_labels=1)
    assert not hasattr(config, "max_position_embeddings")
    network = torch.nn.Module()
    network.config, network.base_model = config, torch.nn.Identity()
    network.score = torch.nn.Linear(16, 1)
    options: Any = {"architecture": "decoder", "pooling": "last_token"}
    with pytest.raises(InvalidInput, match=r"names no longest input: set backbone\.max_tokens"):
        RewardModel(network, make_tokenizer(), **options)  # type: ignore[arg-type]
    assert RewardModel(network, make_tokenizer(), **options, max_tokens=50).max_tokens == 50  # type: ignore[arg-type]


def test_pooling_where_there_is_nothing_to_read_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a decoder's first token sees nothing: pooling must be last_token or mean"):
        build("llama", "cls")
    with pytest.raises(InvalidInput, match="an encoder's last token is a separator"):
        build("bert", "last_token")

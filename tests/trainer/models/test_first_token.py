"""An encoder's last layer computes behind its attention what the head reads, and nothing else."""

import copy

import pytest
import torch
from transformers import AutoModelForSequenceClassification as Classifier
from transformers import (
    BertConfig,
    BigBirdConfig,
    DistilBertConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from trainer.models.first_token import read_first_token_only

SHAPE = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 1}
SHAPE |= {"intermediate_size": 32, "max_position_embeddings": 32, "pad_token_id": 0}
IDS = torch.tensor([[3, 7, 9, 11, 13], [3, 8, 6, 0, 0]])
MASK = IDS.ne(0).long()


def model_of(config: PretrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = Classifier.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def scores(model: PreTrainedModel) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=IDS, attention_mask=MASK).logits
    return logits


@pytest.mark.parametrize("config", [BertConfig(**SHAPE), RobertaConfig(**SHAPE)], ids=["bert", "roberta"])
def test_the_last_layer_feeds_forward_one_token_of_a_text_and_scores_the_same(config: PretrainedConfig) -> None:
    whole = model_of(config)
    first = copy.deepcopy(whole)
    assert read_first_token_only(first)
    lengths = []
    for layer in first.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, inputs, __: lengths.append(inputs[0].shape[1]))
    assert torch.allclose(scores(first), scores(whole), rtol=0, atol=1e-6)
    assert lengths == [5, 1]


def test_sparse_attention_stays_sparse() -> None:
    model = model_of(BigBirdConfig(**SHAPE, attention_type="block_sparse", block_size=4, num_random_blocks=1))
    assert not read_first_token_only(model)
    assert model.base_model.attention_type == "block_sparse"


def test_the_gradients_are_the_same() -> None:
    whole = model_of(BertConfig(**SHAPE))
    first = copy.deepcopy(whole)
    assert read_first_token_only(first)
    for model in (whole, first):
        model(input_ids=IDS, attention_mask=MASK).logits.sum().backward()
    for expected, found in zip(whole.parameters(), first.parameters(), strict=True):
        assert expected.grad is not None
        assert found.grad is not None
        assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_a_head_that_reads_other_tokens_is_found_out() -> None:
    model = model_of(BertConfig(**SHAPE))
    model.bert.pooler.forward = lambda hidden: hidden.mean(dim=1)
    before = scores(model)
    assert not read_first_token_only(model)
    assert torch.equal(scores(model), before)


@pytest.mark.parametrize(
    "config",
    [
        ModernBertConfig(**SHAPE, cls_token_id=4, sep_token_id=5, bos_token_id=2, eos_token_id=3),
        DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32, num_labels=1),
    ],
    ids=["modernbert", "distilbert"],
)
def test_an_encoder_built_otherwise_is_left_as_it_is(config: PretrainedConfig) -> None:
    model = model_of(config)
    before = scores(model)
    assert not read_first_token_only(model)
    assert torch.equal(scores(model), before)

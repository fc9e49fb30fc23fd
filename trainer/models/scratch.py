"""Networks that begin with random weights, on the product-description world's vocabulary."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from trainer.data.product_world import WorldName, make_tokenizer
from trainer.models.match_features import TYPE_VOCABULARY
from trainer.models.policy import Policy
from trainer.recipe import Model


class Scratch(Model):
    """The shape of a network to be trained from random weights on the product-description world's vocabulary."""

    world: WorldName = "small"
    """Whose vocabulary: that of the data."""
    hidden_size: int = Field(96, ge=8, le=65_536)
    layers: int = Field(3, ge=1, le=128)
    heads: int = Field(4, ge=1)
    max_tokens: int = Field(128, ge=8, le=1_048_576)

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} cannot be shared out evenly among {self.heads} heads")
        return self

    def policy_config(self) -> LlamaConfig:
        """As a causal language model."""
        tokenizer = make_tokenizer(self.world)
        return LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=4 * self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.max_tokens,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    def encoder_config(self, match_features: bool) -> BertConfig:
        """As an encoder with a scalar head."""
        tokenizer = make_tokenizer(self.world)
        return BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=4 * self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.max_tokens,
            type_vocab_size=TYPE_VOCABULARY if match_features else 2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=1,
            pad_token_id=tokenizer.pad_token_id,
        )


def scratch_policy(shape: Scratch, seed: int) -> Policy:
    """A policy with weights that are a function of ``seed``."""
    model = LlamaForCausalLM(shape.policy_config())
    _initialise(model, seed)
    tokenizer = make_tokenizer(shape.world)
    # token types are for encoders: whoever passes on all that a tokenizer gives, as servers do, would hand them over
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return Policy(model, tokenizer)


def scratch_encoder(shape: Scratch, match_features: bool) -> BertForSequenceClassification:
    """An encoder with a scalar head; seed torch before for seeded weights."""
    return BertForSequenceClassification(shape.encoder_config(match_features))


def _initialise(model: PreTrainedModel, seed: int) -> None:
    """Unit-scale embeddings and Xavier matrices, instead of 0.02 everywhere.

    Small networks spend their first hundreds of steps growing out of a tiny initialisation; from here a policy of
    this world copies values from its prompt after 200 steps, where before it had not after 700.
    """
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "embed" in name:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        elif weight.dim() > 1:
            nn.init.xavier_uniform_(weight)

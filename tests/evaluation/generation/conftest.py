"""A tiny policy that was never trained."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainer.models.policy import Policy

WORDS = ["<pad>", "<eos>", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]


@pytest.fixture
def policy() -> Policy:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="j"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="j")
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=len(WORDS),
        max_position_embeddings=64,
        initializer_range=0.5,  # far from uniform, so that an error in the distribution would show
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return Policy(LlamaForCausalLM(config).eval(), tokenizer)

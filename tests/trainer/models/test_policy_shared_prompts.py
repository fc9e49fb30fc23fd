"""A prompt read once for two responses gives what reading it twice gives, wherever that is possible at all."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconMambaConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from trainer.data.text import Encoded
from trainer.errors import InvalidInput
from trainer.models.policy import PolicyNetwork, collate
from trainer.models.shared_prompts import check_sharing, share_prompts

SHAPE = {
    "vocab_size": 50,
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
FAMILIES = {
    "llama": LlamaConfig(**SHAPE),
    "gemma-2": Gemma2Config(**SHAPE, head_dim=8, attn_implementation="eager"),
    "gpt-2": GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2),
}
CHOSEN = [Encoded([5, 6, 7, 8, 9], 3), Encoded([11, 12, 13], 1), Encoded([20, 21, 22], 2)]
REJECTED = [Encoded([5, 6, 7, 3, 3, 3, 3], 3), Encoded([11, 14], 1), Encoded([23, 21, 24, 25], 2)]
ROWS = [*CHOSEN, *REJECTED]


def random_model(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    return model


def test_a_row_is_the_prompt_and_both_responses_each_blind_to_the_other() -> None:
    shared = share_prompts(ROWS[:1] + ROWS[3:4], 0)
    assert shared.input_ids.tolist() == [[5, 6, 7, 8, 9, 3, 3, 3, 3]]
    assert shared.position_ids.tolist() == [[0, 1, 2, 3, 4, 3, 4, 5, 6]]
    assert shared.places.tolist()[7:] == [0, 1, 2, 5, 6, 7, 8]
    assert shared.places.tolist()[:5] == [0, 1, 2, 3, 4]
    assert shared.visible[0, 0, 6].tolist() == [True, True, True, False, False, True, True, False, False]


def test_prompts_share_only_what_they_begin_with_alike() -> None:
    shared = share_prompts([CHOSEN[2], REJECTED[2]], 0)
    assert shared.input_ids.tolist() == [[20, 21, 22, 23, 21, 24, 25]]


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_logps_and_gradients_are_those_of_separate_rows(family: str) -> None:
    model = random_model(FAMILIES[family])
    network = PolicyNetwork(model)
    check_sharing(model, longest=7)
    gradients, outputs = [], []
    for share in (False, True):
        batch = collate(ROWS, 0, share=share).to(torch.device("cpu"))
        hidden, logps = network(batch)
        model.zero_grad()
        (logps * torch.linspace(-1, 2, logps.numel()).view_as(logps)).sum().backward()
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})
        outputs.append((hidden * batch.attention_mask[..., None], logps))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    assert int((outputs[0][1] != 0).sum()) == 5 + 7  # chosen and rejected
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-4, atol=1e-5, msg=name)


def test_layers_that_remember_cannot_share() -> None:
    config = FalconMambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, state_size=4)
    with pytest.raises(InvalidInput, match="FalconMambaForCausalLM cannot share prompts"):
        check_sharing(random_model(config), longest=7)


def test_a_window_shorter_than_the_texts_cannot_share() -> None:
    model = random_model(Gemma2Config(**SHAPE, head_dim=8, sliding_window=6, attn_implementation="eager"))
    check_sharing(model, longest=6)
    with pytest.raises(InvalidInput, match="texts of 7 tokens; set share_prompts to false"):
        check_sharing(model, longest=7)


def test_a_window_that_counts_places_in_the_row_cannot_share() -> None:
    config = GPTNeoConfig(
        vocab_size=50, hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=4
    )
    with pytest.raises(InvalidInput, match="GPTNeoForCausalLM cannot share prompts"):
        check_sharing(random_model(config), longest=7)

"""A prompt that is read once gives every response behind it the states that it has with the prompt read again."""

from collections.abc import Callable

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from trainer.data.text import Encoded
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.discriminators import TransformerDiscriminator
from trainer.models.latents import MaskChoice
from trainer.models.pair_model import PairModel
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.readings import Readings
from trainer.models.reward_model import RewardModel
from trainer.models.shared_prefix import ReadPrompt, SharedPrompt, longest_shared

SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 1024,
}
FAMILIES = {
    "llama": LlamaConfig(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    "gpt2": GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=4, n_positions=1024),
    "mistral": MistralConfig(**SIZES, sliding_window=700),
    "gemma2": Gemma2Config(**SIZES, sliding_window=700),
}
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
RESPONSES = [[5, 8, 9], [7], [9, 3, 2, 3, 8, 4], [6] * 300, [4] * 200]
"""Of which the passes hold three, one and one: 256 tokens are read together."""


def backbone(config: PreTrainedConfig, attention: str = "sdpa") -> torch.nn.Module:
    torch.manual_seed(0)
    model = AutoModel.from_config(config, attn_implementation=attention).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize(
    ("family", "attention"),
    [*((family, "eager") for family in FAMILIES), *((family, "sdpa") for family in FAMILIES if family != "gemma2")],
)
@torch.no_grad()
def test_states_are_those_of_each_text_read_alone(family: str, attention: str) -> None:
    model = backbone(FAMILIES[family], attention)

    shared = ReadPrompt(model, PROMPT, torch.device("cpu"))
    for responses in (RESPONSES, RESPONSES[:2], RESPONSES[::-1]):  # what a pass left behind the prompt harms no other
        states = shared.hidden_states(responses)
        for response, found in zip(responses, states, strict=True):
            text = [*PROMPT, *response]
            alone = model(input_ids=torch.tensor([text]), use_cache=False).last_hidden_state[0]
            assert (found[: len(text)] - alone).abs().max() <= 1e-4
            assert found[len(text) :].abs().sum() == 0
    assert states[0].std() > 0.1


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (FAMILIES["llama"], 2**31),
        (FAMILIES["gemma2"], 700),
        (MistralConfig(**SIZES, sliding_window=64), 64),
        (BloomConfig(vocab_size=32, hidden_size=16, n_layer=2, n_head=4), 0),  # counts distances by place in the row
        (  # its local layers look a window of places back in the row, where other texts stand between
            GPTNeoConfig(
                vocab_size=32, hidden_size=16, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=2
            ),
            0,
        ),
        (MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2, state_size=4), 0),  # keeps no keys
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_how_long_texts_may_be_is_told_by_the_model_itself(config: PreTrainedConfig, longest: int) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)

    assert longest_shared(model, model.get_decoder()) == longest


def test_an_encoder_shares_nothing(encoder: RewardModel, decoder: RewardModel, policy: Policy) -> None:
    assert encoder.longest_shared == 0
    assert decoder.longest_shared > decoder.max_tokens
    assert policy.longest_shared > policy.max_tokens


def discriminators(policy: Policy, mask: MaskChoice) -> DiscriminatorPair:
    torch.manual_seed(0)
    config = TransformerDiscriminator(width=16, layers=1, heads=2)
    networks = {name: config.build(32) for name in ("chosen", "rejected")}
    return DiscriminatorPair(policy, networks, {"chosen": (0.1, 0.5), "rejected": (0.0, 2.0)}, mask)


MODELS: dict[str, Callable[[Policy, RewardModel], PairModel]] = {
    "last token": lambda _, decoder: decoder,
    "mean": lambda _, decoder: RewardModel(decoder.model, decoder.tokenizer, architecture="decoder", pooling="mean"),
    "discriminators of responses": lambda policy, _: discriminators(policy, "response"),
    "discriminators of both": lambda policy, _: discriminators(policy, "prompt_and_response"),
    "policy": lambda policy, _: PolicyScorer(policy),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_score_is_the_same_behind_a_shared_prompt(name: str, policy: Policy, decoder: RewardModel) -> None:
    model = MODELS[name](policy, decoder)
    prompt = "product mug | color red ; size tiny"
    said = ["color is red .", "size is tiny . color is red . it is a mug .", "no ."]
    rows = [model.encode(prompt, response) for response in said]
    start = rows[0].response_start
    assert {tuple(row.input_ids[:start]) for row in rows} == {tuple(rows[0].input_ids[:start])}

    together = model.score(rows, None, Readings(rows, SharedPrompt(rows[0].input_ids[:start])))

    assert (together - model.score(rows)).abs().max() <= 1e-4
    assert together.std(dim=0).min() > 1e-3


def test_the_prompt_is_read_once(policy: Policy) -> None:
    assert policy.longest_shared  # tried by passes of its own
    rows = [Encoded([*PROMPT, *response], len(PROMPT)) for response in RESPONSES[:3]]
    read: list[int] = []
    hook = policy.backbone.register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    shared = SharedPrompt(PROMPT)
    _ = Readings(rows[:2], shared).by(policy).hidden_states
    _ = Readings(rows[2:], shared).by(policy).hidden_states
    hook.remove()

    assert read == [10, 4, 6]

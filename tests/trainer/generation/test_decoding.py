"""A batch is refilled as responses end, reads each prompt once, and gives what every row would get alone."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3NextConfig,
)

from trainer.data.product_world import make_tokenizer
from trainer.errors import InvalidInput
from trainer.generation import decoding
from trainer.generation import lines as lines_module
from trainer.generation.decoding import Decoding, Row, decode
from trainer.generation.prompts import can_share
from trainer.generation.sampled import Cell, Decoded
from trainer.generation.slots import SlotCache
from trainer.models.policy import Policy

SHAPE: dict[str, Any] = {
    "vocab_size": 294,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,  # far from uniform, so that an error would show
    "bos_token_id": 2,
    "eos_token_id": list(range(100, 130)),  # one token in ten ends a response
    "pad_token_id": 0,
}
PROMPTS = [(2,), (2, 7, 9), (2, 8, 11, 40, 41, 42), (2, 8, 12, 50)]


def llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


def gemma2() -> PreTrainedModel:
    """Every other layer sees four tokens; attention and final logits are capped."""
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE, sliding_window=4, query_pre_attn_scalar=8))


@pytest.fixture(params=[llama, gemma2])
def policy(request: pytest.FixtureRequest) -> Policy:
    torch.manual_seed(0)
    return Policy(request.param().eval(), make_tokenizer())


def rows(replicates: int, temperatures: Sequence[float] = (0.0, 0.7, 1.0, 2.0)) -> list[Row]:
    return [
        Row(Cell(f"p{index}", temperature, replicate), prompt)
        for index, prompt in enumerate(PROMPTS)
        for replicate in range(replicates)
        for temperature in temperatures
    ]


def decoded(policy: Policy, asked: Sequence[Row], lines: int, tokens: int = 20) -> dict[Cell, Decoded]:
    found = [each for ended in decode(policy, asked, Decoding(5, tokens), lines) for each in ended]
    assert len(found) == len(asked)
    return {each.cell: each for each in found}


def test_lines_that_are_taken_over_give_what_each_row_gets_alone(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifts = []
    shift = SlotCache.shift
    monkeypatch.setattr(SlotCache, "shift", lambda cache: shifts.append(shift(cache)) or shifts[-1])
    asked = rows(6)
    found = decoded(policy, asked, lines=7)
    assert len(shifts) > 2  # the columns came to their end, more than once

    for row in asked:
        alone = decoded(policy, [row], lines=1)[row.cell]
        assert found[row.cell].ids == alone.ids
        assert found[row.cell].mean_logprob == pytest.approx(alone.mean_logprob, abs=1e-5)
    assert {each.finish_reason for each in found.values()} == {"stop", "length"}


def test_a_longer_prompt_that_waits_still_fits_after_columns_were_moved(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Policy, "eos_ids", property(lambda _: ()))  # every response runs to its limit
    prompts = [*([(2, 7, 9, 8, 11)] * 6), *([tuple(range(2, 22))] * 2)]
    asked = [Row(Cell(f"p{index}", 1.0, 0), prompt) for index, prompt in enumerate(prompts)]
    together = decoded(policy, asked, lines=2, tokens=10)
    for row in asked:
        assert together[row.cell].ids == decoded(policy, [row], lines=1, tokens=10)[row.cell].ids


def test_greedy_rows_of_a_refilled_batch_are_the_tokens_of_generate(policy: Policy) -> None:
    found = decoded(policy, rows(5), lines=6)
    for index, prompt in enumerate(PROMPTS):
        ids = torch.tensor([prompt])
        generated = policy.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)[
            0, len(prompt) :
        ].tolist()

        assert list(found[Cell(f"p{index}", 0.0, 0)].ids) == generated


def test_what_rows_say_alike_is_read_once_for_all_of_them_and_lines_are_never_empty_while_any_wait(
    policy: Policy,
) -> None:
    read: list[tuple[int, int]] = []
    policy.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    asked = rows(8)
    found = decoded(policy, asked, lines=10)
    prompts = [shape for shape in read if shape[1] > 1]
    steps = [shape[0] for shape in read if shape[1] == 1]
    said = [(each.cell.prompt_id, each.ids[:end]) for each in found.values() for end in range(each.tokens)]
    beginnings = len(set(said))

    assert sum(count for count, _ in prompts) == 3  # the fourth has one token, which its line reads itself
    assert max(steps) == 10
    assert beginnings < 0.8 * len(said)
    # a line waits for at most one other before it is taken over; without that, the longest of ten would be waited for
    assert beginnings <= sum(steps) < 1.15 * beginnings
    assert len(steps) < 1.3 * beginnings / 10


def test_prompts_kept_once_give_what_prompts_copied_to_each_line_give(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    policy = Policy(llama().eval(), make_tokenizer())
    usual = policy.model.config._attn_implementation
    asked = rows(6)
    widths: list[int] = []
    made = SlotCache.__init__

    def watched(self: SlotCache, config: Any, lines: int, width: int, end: int = 0) -> None:
        made(self, config, lines, width, end)
        if lines == 7:
            widths.append(width)

    monkeypatch.setattr(SlotCache, "__init__", watched)
    once = decoded(policy, asked, lines=7)
    assert policy.model.config._attn_implementation == usual
    monkeypatch.setattr(lines_module, "can_share", lambda _: False)
    copied = decoded(policy, asked, lines=7)

    assert widths == [26, 32]  # 20 tokens and the last one, or all six, of the longest prompt; and a quarter more
    for cell, each in once.items():
        assert each.ids == copied[cell].ids
        assert each.mean_logprob == pytest.approx(copied[cell].mean_logprob, abs=1e-5)


def test_prompts_are_copied_where_attention_has_windows_or_caps_or_is_no_attention_of_transformers() -> None:
    def shares(model: PreTrainedModel) -> bool:
        return can_share(Policy(model.eval(), make_tokenizer()))

    torch.manual_seed(0)
    assert shares(llama())
    assert not shares(gemma2())
    assert not shares(Gemma2ForCausalLM(Gemma2Config(**SHAPE, layer_types=["full_attention"] * 2)))
    deaf = llama()
    deaf.config._attn_implementation = "eager"
    deaf.set_attn_implementation = lambda _: None  # what is said to it changes nothing
    assert not shares(deaf)


def test_what_has_ended_is_handed_out_every_second_or_after_a_longer_step(
    policy: Policy, clock: Callable[..., None]
) -> None:
    now, steps = [0.0], [0]
    asked = [row for row in rows(6) if len(row.prompt_ids) > 2]  # reading one is told from a step by its shape

    def pass_time(seconds: float) -> None:
        now[0] += seconds
        steps[0] += 1

    clock(decoding, monotonic=lambda: now[0])
    for seconds, steps_between in ((0.4, 3), (1.5, 1)):
        steps[0] = 0
        hook = policy.model.register_forward_pre_hook(
            lambda module, args, kwargs, took=seconds: pass_time(took) if kwargs["input_ids"].shape[1] == 1 else None,
            with_kwargs=True,
        )
        handed = list(decode(policy, asked, Decoding(5, 20), 7))
        hook.remove()

        assert len(handed) == -(-steps[0] // steps_between)
        assert sum(map(len, handed)) == 3 * 6 * 4


def test_the_same_rows_give_the_same_bits(policy: Policy) -> None:
    assert decoded(policy, rows(4), lines=5) == decoded(policy, rows(4), lines=5)


def test_a_model_that_keeps_more_than_keys_and_values_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"qwen3_next here: it keeps .*give policy.base_url"):
        SlotCache(Qwen3NextConfig(num_hidden_layers=4), lines=1, width=4)

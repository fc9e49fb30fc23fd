"""Local sampling is exact at every temperature and independent of what else is in the batch."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from evaluation.generation.local import LocalSampler, cut_grid
from evaluation.generation.sampler import Question, grid
from trainer.data.text import Encoded
from trainer.errors import InvalidInput, OverlongInput
from trainer.generation.batches import batches
from trainer.generation.decoding import Decoding, Row
from trainer.generation.sampled import Cell, Decoded
from trainer.models.policy import Policy, collate

QUESTIONS = [Question(f"p{i}", text) for i, text in enumerate(["a", "b c d", "e f g h i j a b", "c c"])]
IDS = [question.prompt_id for question in QUESTIONS]
TEMPERATURES = [0.0, 0.5, 1.0, 2.0]


def sample(
    policy: Policy, cells: Sequence[Cell], *, rows_at_once: int = 64, tokens: int = 12, seed: int = 3
) -> dict[Cell, Decoded]:
    sampler = LocalSampler(policy, Decoding(seed, tokens), rows_at_once)
    cut = cut_grid(QUESTIONS, cells, policy.format, policy.max_tokens, Decoding(seed, tokens), rows_at_once)
    found = [sampled for batch in cut for ended in sampler.sample(batch) for sampled in ended]
    assert len(found) == len(cells)  # each once
    return {sampled.cell: sampled for sampled in found}


def test_temperature_zero_gives_the_tokens_of_generate(policy: Policy) -> None:
    cells = grid(IDS, TEMPERATURES, 3)
    found = sample(policy, cells, tokens=20)
    for question in QUESTIONS:
        prompt = torch.tensor([policy.format.prompt_ids(question.prompt)])
        generated = policy.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=20
        )[0, prompt.shape[1] :].tolist()
        greedy = found[Cell(question.prompt_id, 0.0, 0)]

        assert list(greedy.ids) == generated
        assert greedy.response == policy.tokenizer.decode(generated, skip_special_tokens=True)
        assert greedy.finish_reason == ("stop" if generated[-1] == 1 else "length")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_from_the_softmax_at_the_rows_temperature(policy: Policy, temperature: float) -> None:
    draws = 4000
    cells = [Cell("p1", temperature, replicate) for replicate in range(draws)]
    found = sample(policy, cells, rows_at_once=500, tokens=2)
    prompt = torch.tensor([policy.format.prompt_ids(QUESTIONS[1].prompt)])
    with torch.no_grad():
        first = torch.softmax(policy.model(prompt).logits[0, -1].double() / temperature, 0).numpy()
        common = int(np.argmax(first))
        after = torch.cat([prompt, torch.tensor([[common]])], dim=1)
        second = torch.softmax(policy.model(after).logits[0, -1].double() / temperature, 0).numpy()

    assert chisquare_pvalue([sampled.ids[0] for sampled in found.values()], first) > 0.001
    followers = [sampled.ids[1] for sampled in found.values() if sampled.ids[0] == common]
    assert len(followers) > 200
    assert chisquare_pvalue(followers, second) > 0.001


def chisquare_pvalue(tokens: Sequence[int], probabilities: np.ndarray) -> float:
    observed = np.bincount(tokens, minlength=len(probabilities)).astype(float)
    expected = probabilities * len(tokens)
    rare = expected < 5  # the test's approximation needs five expected of each kind: pool the rare ones
    pooled_observed = np.append(observed[~rare], observed[rare].sum())
    pooled_expected = np.append(expected[~rare], expected[rare].sum())
    keep = pooled_expected > 0
    return float(stats.chisquare(pooled_observed[keep], pooled_expected[keep], sum_check=False).pvalue)


@pytest.mark.parametrize("rows_at_once", [1, 5, 17])
def test_a_response_does_not_depend_on_its_batch(policy: Policy, rows_at_once: int) -> None:
    cells = grid(IDS, TEMPERATURES, 3)
    shuffled = random.Random(0).sample(cells, len(cells))

    expected = sample(policy, cells)
    found = sample(policy, shuffled, rows_at_once=rows_at_once)

    assert {cell: s.ids for cell, s in found.items()} == {cell: s.ids for cell, s in expected.items()}
    for cell, sampled in found.items():
        assert sampled.mean_logprob == pytest.approx(expected[cell].mean_logprob, abs=1e-5)


def test_temperatures_share_their_noise(policy: Policy) -> None:
    near = sample(policy, [Cell("p2", t, r) for t in (1.0, 1.0001) for r in range(50)])

    assert all(near[Cell("p2", 1.0, r)].ids == near[Cell("p2", 1.0001, r)].ids for r in range(50))


def test_replicates_prompts_and_seeds_do_not(policy: Policy) -> None:
    cells = [Cell("p2", 1.0, r) for r in range(20)]

    assert len({sampled.ids for sampled in sample(policy, cells).values()}) > 10
    assert [s.ids for s in sample(policy, cells).values()] != [s.ids for s in sample(policy, cells, seed=4).values()]


def test_mean_logprob_is_the_policys_at_temperature_one_end_token_included(policy: Policy) -> None:
    for sampled in sample(policy, grid(IDS, [2.0], 5)).values():
        prompt = policy.format.prompt_ids(QUESTIONS[int(sampled.cell.prompt_id[1:])].prompt)
        pair = collate([Encoded([*prompt, *sampled.ids], len(prompt))], policy.pad_id)
        with torch.no_grad():
            total = float(policy.logps(pair).sum())

        assert sampled.mean_logprob == pytest.approx(total / sampled.tokens, abs=1e-5)


def test_a_response_ends_with_its_end_token_or_at_the_limit(policy: Policy) -> None:
    found = sample(policy, grid(IDS, [2.0], 20)).values()
    stopped = [s for s in found if s.finish_reason == "stop"]
    cut = [s for s in found if s.finish_reason == "length"]

    assert stopped
    assert cut
    assert all(s.ids[-1] == 1 and 1 not in s.ids[:-1] and "<eos>" not in s.response for s in stopped)
    assert all(len(s.ids) == 12 and 1 not in s.ids for s in cut)


def test_a_response_that_ends_at_once_is_kept_as_the_empty_text(policy: Policy) -> None:
    found = sample(policy, [Cell("p0", 2.0, r) for r in range(300)]).values()
    empty = [s for s in found if s.ids == (1,)]

    assert empty
    assert all((s.response, s.tokens, s.finish_reason) == ("", 1, "stop") for s in empty)


def test_a_batch_of_the_grid_gives_the_same_bits_whoever_samples_it_and_in_whatever_order(policy: Policy) -> None:
    cells, decoding = grid(IDS, TEMPERATURES, 3), Decoding(3, 12)
    expected = sample(policy, cells, rows_at_once=4)
    cut = cut_grid(QUESTIONS, cells, policy.format, policy.max_tokens, decoding, 4)
    again = [s for batch in reversed(cut) for ended in LocalSampler(policy, decoding, 4).sample(batch) for s in ended]

    assert len(cut) > 2
    assert {s.cell: s for s in again} == expected


def test_the_grid_has_one_greedy_response_and_k_of_each_other_temperature() -> None:
    assert len(grid(IDS[:2], [0, 0.7, 1.5], 4)) == 2 * (1 + 4 + 4)


def test_batches_hold_two_fills_of_whole_prompts_and_divide_only_a_prompt_that_is_too_large() -> None:
    rows = [Row(Cell(prompt_id, 1.0, r), (1,)) for prompt_id, k in (("a", 3), ("b", 3), ("c", 11)) for r in range(k)]

    assert [[row.cell.prompt_id for row in batch] for batch in batches(rows, 3)] == [
        ["a", "a", "a", "b", "b", "b"],
        ["c"] * 5,
        ["c"] * 6,
    ]


def test_a_prompt_without_room_for_its_response_is_refused_before_anything_is_sampled(policy: Policy) -> None:
    questions = [Question("long", "a b c d e f g h i j")]

    with pytest.raises(OverlongInput, match=r"prompt long has \d+ tokens"):
        cut_grid(questions, grid(["long"], [1.0], 1), policy.format, policy.max_tokens, Decoding(0, 60))


def test_an_empty_prompt_is_named(policy: Policy) -> None:
    questions = [Question("p9", " ")]

    with pytest.raises(InvalidInput, match="prompt p9: the prompt is empty"):
        cut_grid(questions, grid(["p9"], [1.0], 1), policy.format, policy.max_tokens, Decoding(0, 4))


def test_a_batch_that_does_not_fit_into_memory_is_divided(policy: Policy) -> None:
    cells = grid(IDS, TEMPERATURES, 3)
    expected = sample(policy, cells)
    sizes = []

    def refuse_more_than_five(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("five rows are all that fit")

    policy.model.register_forward_pre_hook(refuse_more_than_five, with_kwargs=True)

    assert {c: s.ids for c, s in sample(policy, cells).items()} == {c: s.ids for c, s in expected.items()}
    assert max(sizes) > 5

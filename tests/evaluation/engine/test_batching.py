"""Batches hold one model's pairs of similar length, within the budget, each distinct pair once."""

from concurrent.futures import Future
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from evaluation.engine.asks import Ask, Wish
from evaluation.engine.batching import Batch, batches, kin
from evaluation.engine.residency import LoadedModel
from trainer.data.text import Encoded
from trainer.manifest import Manifest

MANIFEST = Manifest(
    kind="reward_model", name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe={},
    recipe_digest="", parents=[], data_digest=None, code_version="", metrics={}, details={}, probes=[], files={},
)  # fmt: skip
FIRST, SECOND = (
    LoadedModel(MANIFEST, cast(Any, SimpleNamespace(longest_shared=10_000, longest_packed=0))) for _ in range(2)
)
PACKING = LoadedModel(MANIFEST, cast(Any, SimpleNamespace(longest_shared=0, longest_packed=5)))


def ask(length: int, token: int = 0, model: LoadedModel = FIRST) -> Ask:
    return Ask(Encoded([token] * length, 0), (Wish(model, "score", Future()),))


def lengths(cut: list[Batch]) -> list[list[int]]:
    return [[row.tokens for row in batch.rows] for batch in cut]


def test_pairs_are_sorted_and_cut_where_padding_would_exceed_the_budget() -> None:
    # 2, 3 and 3 padded to 3 are 9 tokens; a fourth of length 6 would make 24; two of 6 are 12; 20 stands alone
    assert lengths(batches([ask(6, 1), ask(3, 1), ask(2), ask(20), ask(3, 2), ask(6, 2)], 12)) == [
        [2, 3, 3],
        [6, 6],
        [20],
    ]


def test_pairs_that_are_read_without_padding_are_cut_where_their_tokens_exceed_the_budget() -> None:
    # 2 + 3 + 3 + 4 are 12 tokens; 5 + 5 are 10, and with the 6, which is longer than what is packed, padded to 18
    waiting = [ask(size, token, PACKING) for token, size in enumerate((6, 5, 3, 2, 3, 5, 4))]
    assert lengths(batches(waiting, 12)) == [[2, 3, 3, 4], [5, 5], [6]]
    assert lengths(batches(waiting, 18)) == [[2, 3, 3, 4, 5], [5, 6]]
    assert lengths(batches(waiting, 17)) == [[2, 3, 3, 4, 5], [5, 6]]
    assert lengths(batches([ask(5, 1, PACKING), ask(6, 2, PACKING)], 11)) == [[5], [6]]


def test_models_do_not_share_batches() -> None:
    assert lengths(batches([ask(1), ask(1, model=SECOND)], 100)) == [[1], [1]]


def test_equal_pairs_are_scored_once_and_pairs_that_differ_only_in_the_responses_start_are_not_equal() -> None:
    twice = [ask(4), ask(4), Ask(Encoded([0] * 4, 2), (Wish(FIRST, "score", Future()),))]

    (batch,) = batches(twice, 100)

    assert [len(group) for group in batch.groups] == [2, 1]


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 100))
def test_every_pair_is_in_exactly_one_batch_and_no_batch_of_several_exceeds_the_budget(
    sizes: list[int], budget: int
) -> None:
    waiting = [ask(size, token) for token, size in enumerate(sizes)]
    cut = batches(waiting, budget)

    assert sorted(id(a) for batch in cut for group in batch.groups for a in group) == sorted(id(a) for a in waiting)
    assert all(len(batch.rows) == 1 or len(batch.rows) * max(lengths([batch])[0]) <= budget for batch in cut)


def sibling(prompt: int, response: int, number: int) -> Ask:
    encoded = Encoded([1] * prompt + [2] * (response - 1) + [number], prompt)
    return Ask(encoded, (Wish(FIRST, "score", Future()),), kin(encoded, [FIRST]))


def test_responses_of_a_long_prompt_stand_together_behind_it_within_the_budget() -> None:
    waiting = [sibling(1000, 60, number) for number in (3, 4, 5)] + [ask(2000)]

    first, second, other = batches(waiting, 120)

    assert lengths([first, second, other]) == [[1060, 1060], [1060], [2000]]
    assert first.prompt is second.prompt
    assert first.prompt is not None
    assert (first.prompt.tokens, other.prompt) == (1000, None)


def test_a_prompt_too_short_to_pay_for_a_pass_of_its_own_is_read_with_each_response() -> None:
    # 1,024 + 64 x 1 against 1,016 + 64 x (1 + 1,008 / 256) tokens
    assert [batch.prompt for batch in batches([sibling(8, 504, 3), sibling(8, 504, 4)], 1024)] == [None]


def test_nothing_is_shared_where_it_is_not_wanted_or_a_model_cannot() -> None:
    waiting = [sibling(1000, 60, number) for number in (3, 4)]
    short = LoadedModel(MANIFEST, cast(Any, SimpleNamespace(longest_shared=1059, longest_packed=0)))

    assert [batch.prompt for batch in batches(waiting, 0, share=False)] == [None, None]
    assert kin(waiting[0].encoded, [FIRST, short]) is None


def test_pairs_for_a_model_that_reads_each_alone_are_a_batch_each() -> None:
    quantised = MANIFEST.model_copy(update={"details": {"quantisation": {"bits": 8}}})
    alone = LoadedModel(quantised, cast(Any, SimpleNamespace(longest_shared=0, longest_packed=0)))

    assert [len(batch.groups) for batch in batches([ask(3, n, alone) for n in range(4)], 100)] == [1, 1, 1, 1]
    assert [len(batch.groups) for batch in batches([ask(3, n) for n in range(4)], 100)] == [4]

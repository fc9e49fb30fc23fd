"""Which held-out responses an artifact carries scores of, and what is read anew for them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from trainer.data.rows import Pair
from trainer.data.text import Encoded, fit
from trainer.models import validation
from trainer.models.validation import HeldOut, validate
from trainer.validation_scores import ValidationScores


class Counts:
    """Scores a pair by its tokens, a word each, and by those of its response; remembers what it was asked to read."""

    outputs = ("tokens", "response")

    def __init__(self, max_tokens: int = 8) -> None:
        self.max_tokens = max_tokens
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def encode(self, prompt: str, response: str, on_overlong: Any = "error") -> Encoded:
        head, tail = [1] * len(prompt.split()), [2] * len(response.split())
        return fit(head, tail, self.max_tokens, on_overlong)

    def score(self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None) -> torch.Tensor:
        wanted = tuple(outputs or self.outputs)
        self.asked += [(row.tokens, wanted) for row in batch]
        of = {"tokens": lambda row: row.tokens, "response": lambda row: row.tokens - row.response_start}
        return torch.tensor([[float(of[name](row)) for name in wanted] for row in batch])


def held_out(prompt: str, response: str, **known: Any) -> HeldOut:
    return HeldOut(Pair(prompt, response), prompt, **known)


def found(model: Any, rows: list[HeldOut], seed: int = 0) -> ValidationScores:
    scores = validate(model, rows, seed)
    assert scores is not None
    return scores


def test_a_response_is_told_by_its_prompts_number_its_length_whether_it_was_cut_and_every_score() -> None:
    rows = [held_out("a b", "yes it is"), held_out("a b", "no"), held_out("a b c d e f g h", "so")]
    scores = found(Counts(), rows)
    assert sorted(zip(scores.characters, scores.cut, *scores.scores.values(), strict=True)) == [
        (2, False, 3.0, 1.0),
        (2, True, 8.0, 1.0),  # eight words of prompt and one of response in a window of eight
        (9, False, 5.0, 3.0),
    ]
    assert sorted(scores.prompt) in ([0, 0, 1], [0, 1, 1])
    assert "yes" not in scores.model_dump_json()


def test_prompts_are_taken_whole_at_random_by_the_seed_and_as_many_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validation, "MOST_RESPONSES", 10)
    rows = [held_out(f"prompt {number}", "a" * (4 * number + side + 1)) for number in range(20) for side in range(4)]
    first, again, other = (found(Counts(), rows, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.characters != other.characters
    for scores in (first, other):
        assert scores.prompt == [0, 0, 0, 0, 1, 1, 1, 1]  # a third prompt would be twelve
        assert [(each - 1) // 4 for each in scores.characters[::4]] == [
            (each - 1) // 4 for each in scores.characters[3::4]
        ]


def test_two_prompts_that_a_row_contrasts_are_one_cluster() -> None:
    rows = [HeldOut(Pair(prompt, "yes"), "first") for prompt in ("first", "second")] + [held_out("third", "yes")]
    assert sorted(found(Counts(), rows).prompt) in ([0, 0, 1], [0, 1, 1])


def test_what_was_scored_already_is_read_again_only_where_serving_reads_other_tokens() -> None:
    model = Counts()
    whole, known = model.encode("a b c", "yes"), {"tokens": 4.25}
    trained = model.encode("b c", "yes")  # as data.max_prompt_tokens had it
    scores = found(
        model,
        [
            held_out("a b c", "yes", encoded=whole, scores=known),
            held_out("a b c d", "yes", encoded=trained, scores=known),
        ],
    )
    assert sorted(scores.scores["tokens"]) == [4.25, 5.0]
    assert sorted(model.asked) == [(4, ("response",)), (5, ("tokens", "response"))]


def test_what_cannot_be_served_is_left_out_and_nothing_is_told_of_a_single_prompt_or_a_broken_score() -> None:
    long = held_out("a", "one two three four five six seven eight")
    assert found(Counts(), [held_out("a", "yes"), long, held_out("b", "no")]).cut == [False, False]
    assert validate(Counts(), [held_out("a", "yes"), held_out("a", "no"), long], 0) is None  # type: ignore[arg-type]
    assert validate(Counts(), [], 0) is None  # type: ignore[arg-type]
    broken = {"tokens": float("nan"), "response": 1.0}
    encoded = Counts().encode("a", "yes")
    rows = [held_out("a", "yes", encoded=encoded, scores=broken), held_out("b", "no")]
    assert validate(Counts(), rows, 0) is None  # type: ignore[arg-type]

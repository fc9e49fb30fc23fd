"""Rows become tokens, what does not fit is counted, and a response may be asked for with another row's prompt."""

from typing import Any

import pytest

from trainer.data.rows import Pair, Preference
from trainer.data.sources import ProductWorldData
from trainer.data.text import Encoded, fit
from trainer.errors import InvalidInput
from trainer.recipe import Run
from trainer.recipes.encoding import encode_pairs, encode_preferences
from trainer.reporting import read_events

DATA = ProductWorldData(kind="product_world", max_response_tokens=5)


class Characters:
    """A model that reads at most eight tokens, one for each character."""

    def encode(self, prompt: Any, response: str, on_overlong: Any = "error") -> Encoded:
        return fit([ord(c) for c in prompt], [ord(c) for c in response], 8, on_overlong)


def text(row: Encoded | None) -> str | None:
    return None if row is None else "".join(map(chr, row.input_ids))


def test_rows_that_no_truncation_makes_fit_are_left_out_and_counted(run: Run) -> None:
    pairs = [Pair("ppp", "rrr"), Pair("pppppp", "rrrr"), Pair("p", "r" * 9), Pair("p", "r" * 7)]
    kept = encode_pairs(Characters(), pairs, DATA, run)
    assert [(row.tokens, row.truncated_tokens) for row in kept] == [(6, 0), (8, 2)]
    said = [event["text"] for event in read_events(run.directory)]
    assert said[0].startswith("left out 2 of 4 rows with a response longer than data.max_response_tokens")
    assert said[1].startswith("1 of 2 texts lost prompt tokens")
    assert run.data_counts == {"training": {"left_out": 2, "truncated": 1}}
    encode_pairs(Characters(), pairs[:1], DATA, run, "held_out")
    encode_pairs(Characters(), pairs[:1], DATA, run, None)
    assert run.data_counts["held_out"] == {"left_out": 0, "truncated": 0}
    assert run.data_counts["training"] == {"left_out": 2, "truncated": 1}
    with pytest.raises(InvalidInput, match="every one of 1 rows has a response longer"):
        encode_pairs(Characters(), pairs[2:3], DATA, run)


def test_where_prompt_and_response_together_are_too_long_the_prompt_gives_way(run: Run) -> None:
    data = DATA.model_copy(update={"max_tokens": 5})
    assert data.longest == (4, 5)
    pairs = [Pair("abcd", "12"), Pair("ab", "1"), Pair("ab", "1234"), Pair("a", "12345")]
    assert [text(row) for row in encode_pairs(Characters(), pairs, data, run)] == ["bcd12", "ab1", "b1234"]
    assert DATA.longest == (5, 1805)


def test_a_prompt_beyond_its_limit_loses_its_oldest_tokens(run: Run) -> None:
    data = DATA.model_copy(update={"max_prompt_tokens": 2})
    kept = encode_pairs(Characters(), [Pair("abcd", "r"), Pair("ab", "r"), Pair("abcdef", "1234")], data, run)
    assert [text(row) for row in kept] == ["cdr", "abr", "ef1234"]
    assert [row.truncated_tokens for row in kept] == [2, 0, 4]
    said = [event["text"] for event in read_events(run.directory)]
    assert said == ["2 of 3 texts lost prompt tokens to data.max_prompt_tokens, data.max_tokens or the model's window"]


def test_a_mismatched_response_is_that_of_the_next_row_with_another_prompt(run: Run) -> None:
    rows = [
        Preference(Pair("A", "a"), None),
        Preference(None, Pair("A", "x")),
        Preference(Pair("B", "b"), Pair("B", "y")),
        Preference(Pair("C", "c"), Pair("C", "z")),
    ]
    encoded = encode_preferences(Characters(), rows, DATA, run, paired=False, mismatched=True)
    assert [(text(row.chosen), text(row.rejected)) for row in encoded[:2]] == [("Aa", None), (None, "Ax")]
    # the third row lends its chosen response, the fourth its rejected one, the first its only one
    assert [text(row.mismatched) for row in encoded] == ["Ab", "Ab", "Bz", "Ca"]
    assert [row.mismatched for row in encode_preferences(Characters(), rows[2:], DATA, run)] == [None, None]


def test_a_mismatched_response_loses_prompt_tokens_rather_than_its_end(run: Run) -> None:
    rows = [Preference(Pair("A" * 6, "a"), None), Preference(Pair("B", "12345"), None)]
    encoded = encode_preferences(Characters(), rows, DATA, run, paired=False, mismatched=True)
    assert [text(row.mismatched) for row in encoded] == ["AAA12345", "Ba"]
    assert encoded[1].tokens == 6
    assert encoded[0].tokens == 8


def test_one_prompt_has_no_mismatched_response(run: Run) -> None:
    with pytest.raises(InvalidInput, match="at least two prompts"):
        encode_preferences(
            Characters(), [Preference(Pair("A", "a"), None)] * 3, DATA, run, paired=False, mismatched=True
        )


def test_an_unpaired_row_is_refused_where_pairs_are_compared(run: Run) -> None:
    rows = [Preference(Pair("A", "a"), Pair("A", "b")), Preference(None, Pair("A", "x"))]
    with pytest.raises(InvalidInput, match="row 2 of the data is one judged response"):
        encode_preferences(Characters(), rows, DATA, run)

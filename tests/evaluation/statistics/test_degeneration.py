"""What is no longer text, by hand."""

import pytest

from evaluation.statistics.degeneration import DEGENERATE, measure_text

PROSE = "The quick brown fox jumps over the lazy dog while nobody else is watching it do so ."


def test_shares_by_hand() -> None:
    found = measure_text("", "a b a b a b")
    # 2-grams: ab ba ab ba ab, two of five differ; 4-grams: abab baba abab, one of three was said before
    assert found["text_distinct_2"] == pytest.approx(2 / 5)
    assert found["text_repeat_4"] == pytest.approx(1 / 3)
    assert measure_text("", "naïve")["text_non_ascii"] == pytest.approx(1 / 5)
    assert measure_text("", "ab\ufffd\ud800")["text_replacement"] == pytest.approx(1 / 2)


def test_too_short_a_text_has_no_repetition() -> None:
    found = measure_text("", "three words only")
    assert (found["text_repeat_4"], found["text_distinct_2"]) == (None, 1.0)
    assert measure_text("", "") == {
        "text_empty": 1.0,
        "text_non_ascii": None,
        "text_replacement": None,
        "text_repeat_4": None,
        "text_distinct_2": None,
        DEGENERATE: 1.0,
    }


@pytest.mark.parametrize(
    ("prompt", "text", "degenerate"),
    [
        ("Say something.", PROSE, 0.0),
        ("Say something.", " \n\t", 1.0),
        ("Say something.", "very good " * 40, 1.0),
        ("Say something.", "x" * 1_000_000, 1.0),
        ("Say something.", PROSE + "\ufffd" * 3, 1.0),
        ("Say something.", "ошибка кодировки здесь", 1.0),
        ("Скажи что-нибудь", "вот какой-то обычный текст", 0.0),
        ("Say something.", "Voilà, une réponse tout à fait normale.", 0.0),
    ],
)
def test_degenerate_is_what_a_reader_would_call_so(prompt: str, text: str, degenerate: float) -> None:
    assert measure_text(prompt, text)[DEGENERATE] == degenerate

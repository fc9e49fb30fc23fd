"""Times, sizes and counts read the same everywhere."""

from datetime import UTC, datetime, timedelta

import pytest

from service.wording import ago, count, duration, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (324, "5 min 24 s"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7380, "2 h 3 min"),
        (200_000, "2 d"),
    ],
)
def test_a_duration_has_one_unit_or_two(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 min ago"), (7300, "2 h ago"), (90_000, "1 d ago")],
)
def test_the_past_has_one_unit(seconds: float, words: str) -> None:
    assert ago(datetime.now(UTC) - timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (2 * 10**12, "2.0 TB")]
)
def test_a_size_is_in_decimal_units(number: int, words: str) -> None:
    assert size(number) == words


def test_a_count_knows_its_plural() -> None:
    assert [count(1, "prompt"), count(0, "prompt"), count(18496, "response")] == [
        "1 prompt",
        "0 prompts",
        "18,496 responses",
    ]

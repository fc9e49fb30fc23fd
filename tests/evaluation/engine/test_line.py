"""The waiting line is bounded, fair, and waits for company only while company is on its way."""

import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from evaluation.engine.line import Ask, WaitingLine, Wish
from evaluation.engine.residency import LoadedModel
from trainer.artifacts import Manifest
from trainer.data.text import Encoded
from trainer.errors import Overloaded

MANIFEST = Manifest(
    kind="reward_model", name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe={},
    recipe_digest="", parents=[], data_digest=None, code_version="", metrics={}, details={}, probes=[], files={},
)  # fmt: skip
MODEL = LoadedModel(MANIFEST, cast(Any, None))  # the line never looks inside


def asks(*ids: int, length: int = 1) -> list[Ask]:
    return [Ask(Encoded([i] * length, 0), (Wish(MODEL, "score", Future()),)) for i in ids]


def ids(taken: list[Ask]) -> list[int]:
    return [ask.encoded.input_ids[0] for ask in taken]


def join(line: WaitingLine, waiting: list[Ask]) -> None:
    line.reserve(len(waiting))
    line.join(len(waiting), waiting)


def test_a_long_request_does_not_stand_in_front_of_a_short_one() -> None:
    line = WaitingLine(100)
    join(line, asks(1, 2, 3, 4))
    join(line, asks(11))

    assert ids(line.take(3, 0.0)) == [1, 11, 2]
    assert ids(line.take(99, 0.0)) == [3, 4]


def test_a_round_ends_once_it_holds_its_tokens() -> None:
    line = WaitingLine(100)
    join(line, asks(1, 2, 3, length=10))

    assert ids(line.take(11, 0.0)) == [1, 2]


def test_a_full_line_refuses_and_admits_again_once_it_was_served() -> None:
    line = WaitingLine(3)
    join(line, asks(1, 2))
    with pytest.raises(Overloaded, match="2 pairs already wait"):
        line.reserve(2)

    line.take(99, 0.0)
    join(line, asks(3, 4))

    assert line.pairs == 2


def test_a_request_longer_than_the_line_is_admitted_when_nobody_waits() -> None:
    line = WaitingLine(2)
    join(line, asks(1, 2, 3))

    assert ids(line.take(99, 0.0)) == [1, 2, 3]


def test_reserved_places_count_before_the_pairs_are_tokenised() -> None:
    line = WaitingLine(3)
    line.reserve(2)

    with pytest.raises(Overloaded):
        line.reserve(2)


def test_a_single_request_waits_for_nobody() -> None:
    line = WaitingLine(9)
    join(line, asks(1))
    started = time.monotonic()

    line.take(9, window_seconds=5.0)

    assert time.monotonic() - started < 1.0


def test_two_requests_share_a_round_when_the_second_was_being_tokenised() -> None:
    line = WaitingLine(9)
    line.reserve(1)
    join(line, asks(1))
    late = threading.Timer(0.05, line.join, (1, asks(2)))
    late.start()

    assert ids(line.take(9, window_seconds=5.0)) == [1, 2]
    late.join()


def test_closing_hands_back_who_still_waits_and_admits_nobody() -> None:
    line = WaitingLine(9)
    join(line, asks(1, 2))
    line.reserve(1)

    assert ids(line.close()) == [1, 2]
    assert line.join(1, asks(3)) is False
    with pytest.raises(Overloaded, match="shutting down"):
        line.reserve(1)
    assert line.take(9, 0.0) == []

"""The waiting line is bounded, fair, and waits for company only while company is on its way."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from evaluation.engine import line as waiting_line
from evaluation.engine.asks import Ask, Wish
from evaluation.engine.line import WaitingLine
from evaluation.engine.residency import LoadedModel
from evaluation.engine.terms import Priority
from evaluation.engine.turns import Round
from trainer.data.text import Encoded
from trainer.errors import Overloaded
from trainer.manifest import Manifest

MANIFEST = Manifest(
    kind="reward_model", name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe={},
    recipe_digest="", parents=[], data_digest=None, code_version="", metrics={}, details={}, probes=[], files={},
)  # fmt: skip
MODEL = LoadedModel(MANIFEST, cast(Any, None))  # the line never looks inside


def asks(*ids: int, length: int = 1) -> list[Ask]:
    return [Ask(Encoded([i] * length, 0), (Wish(MODEL, "score", Future()),)) for i in ids]


def ids(taken: Round | list[Ask]) -> list[int]:
    return [ask.encoded.input_ids[0] for ask in (taken.asks if isinstance(taken, Round) else taken)]


def join(line: WaitingLine, waiting: list[Ask]) -> None:
    assert line.join(line.reserve(len(waiting)), waiting)


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
    with pytest.raises(Overloaded, match="2 pairs already wait"):  # for they are being scored
        line.reserve(2)
    line.done(2)
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

    assert ids(line.take(9, window_seconds=3600.0)) == [1]


def test_two_requests_share_a_round_when_the_second_was_being_tokenised() -> None:
    line = WaitingLine(9)
    late = threading.Timer(0.05, line.join, (line.reserve(1), asks(2)))
    join(line, asks(1))
    late.start()

    assert ids(line.take(9, window_seconds=3600.0)) == [1, 2]
    late.join()


def test_closing_hands_back_who_still_waits_and_admits_nobody() -> None:
    line = WaitingLine(9)
    join(line, asks(1, 2))
    place = line.reserve(1)

    assert ids(line.close()) == [1, 2]
    assert line.join(place, asks(3)) is False
    with pytest.raises(Overloaded, match="shutting down"):
        line.reserve(1)
    assert line.take(9, 0.0).asks == []


def urgent(priority: Priority, *ids: int, kin: int | None = None, deadline: float = math.inf) -> list[Ask]:
    now = time.monotonic()
    return [replace(ask, priority=priority, since=now, deadline=deadline, kin=kin) for ask in asks(*ids)]


def test_the_most_urgent_are_taken_first_and_alone() -> None:
    line = WaitingLine(9)
    join(line, urgent(Priority.OFFLINE, 1))
    join(line, urgent(Priority.TRAINER, 2))
    join(line, urgent(Priority.INTERACTIVE, 3))
    join(line, urgent(Priority.INTERACTIVE, 4))

    assert [ids(line.take(99, 0.0)) for _ in range(3)] == [[3, 4], [2], [1]]


def test_only_what_is_more_urgent_interrupts() -> None:
    line = WaitingLine(9)
    join(line, urgent(Priority.TRAINER, 1))

    assert line.take_urgent(Priority.TRAINER, 99).asks == []
    assert ids(line.take_urgent(Priority.OFFLINE, 99)) == [1]
    line.done(1)
    assert line.pairs == 0


def test_who_was_passed_over_long_enough_goes_with_the_most_urgent_once(clock: Callable[..., None]) -> None:
    now = 100.0
    clock(waiting_line, monotonic=lambda: now)
    line = WaitingLine(99)
    join(line, urgent(Priority.OFFLINE, 1, 2))
    join(line, urgent(Priority.INTERACTIVE, 11, 12, 13, 14))

    assert ids(line.take(1, 0.0)) == [11]
    now = 103.9  # two steps of 2 s lead from offline to interactive
    assert ids(line.take(1, 0.0)) == [12]
    now = 104.0
    assert ids(line.take(2, 0.0)) == [13, 1]
    assert ids(line.take(1, 0.0)) == [14]
    assert ids(line.take(1, 0.0)) == [2]


def test_expired_pairs_come_out_at_once_and_cost_the_round_nothing() -> None:
    line = WaitingLine(9)
    join(line, urgent(Priority.OFFLINE, 1, 2, deadline=time.monotonic() - 1))
    join(line, urgent(Priority.INTERACTIVE, 3))

    assert ids(line.take(1, 0.0)) == [1, 2, 3]


def test_pairs_of_a_prompt_that_is_read_anyway_come_along_from_other_requests() -> None:
    line = WaitingLine(99)
    for number, kin in [(1, 7), (2, 8), (3, 7), (4, 7)]:
        join(line, [replace(ask, encoded=Encoded([number] * 10, 8), kin=kin) for ask in asks(number)])
    join(line, [replace(ask, kin=7) for ask in asks(5, 6)])

    # the first costs 10 tokens, the second 10; all others would wait but for their kin, and cost 2 + 2 + 1 + 1 more
    assert ids(line.take(11, 0.0)) == [1, 2, 3, 4, 5, 6]


def test_a_round_holds_its_tokens_however_many_requests_wait_and_the_others_come_next() -> None:
    line = WaitingLine(1000)
    for number in range(1000):
        join(line, asks(number, length=1000))

    assert ids(line.take(8192, 0.0)) == list(range(9))  # the ninth goes past them
    assert ids(line.take(8192, 0.0)) == list(range(9, 18))
    assert line.pairs == 1000
    line.done(18)
    assert line.pairs == 982


def test_those_passed_over_for_long_take_turns_with_the_urgent(clock: Callable[..., None]) -> None:
    now = 100.0
    clock(waiting_line, monotonic=lambda: now)
    line = WaitingLine(99)
    for number in range(20):
        join(line, urgent(Priority.TRAINER, number))
    now = 103.0  # all as urgent as the one that comes now
    join(line, urgent(Priority.INTERACTIVE, 101, 102))

    assert ids(line.take(3, 0.0)) == [101, 0, 102]
    assert ids(line.take(3, 0.0)) == [1, 2, 3]


def test_pairs_that_nobody_waits_for_any_more_make_room() -> None:
    line = WaitingLine(3)
    gone, staying = asks(1, 2), asks(3)
    join(line, gone)
    join(line, staying)
    for ask in gone:
        ask.wishes[0].future.cancel()

    join(line, asks(4, 5))

    assert line.pairs == 3
    assert ids(line.take(99, 0.0)) == [3, 4, 5]
    assert wait([ask.wishes[0].future for ask in gone], timeout=0).not_done == set()


def test_a_place_that_is_held_is_granted_in_order_once_there_is_room() -> None:
    line = WaitingLine(2)
    join(line, asks(1, 2))
    first, second = line.reserve(2, hold_seconds=60), line.reserve(1, hold_seconds=60)

    assert not first.granted.done()
    assert line.held_pairs == 3
    line.take(99, 0.0)
    line.done(2)

    assert (first.granted.done(), second.granted.done()) == (True, False)
    assert line.join(first, asks(3, 4))
    line.take(99, 0.0)
    line.done(2)
    assert second.granted.done()


def test_a_place_is_refused_when_no_room_came_in_time(clock: Callable[..., None]) -> None:
    now = 100.0
    clock(waiting_line, monotonic=lambda: now)
    line = WaitingLine(2)
    join(line, asks(1, 2))
    place = line.reserve(1, hold_seconds=150)
    now = 251.0
    line.take(1, 0.0)

    with pytest.raises(Overloaded, match="no room for 1 pairs came free in time"):
        place.granted.result(0)


def test_a_place_that_is_left_makes_room_for_the_next_whether_granted_or_not() -> None:
    line = WaitingLine(2)
    granted = line.reserve(2)
    second, third = line.reserve(2, hold_seconds=60), line.reserve(2, hold_seconds=60)
    second.leave()
    granted.leave()
    granted.leave()

    assert second.granted.cancelled()
    assert third.granted.done()
    assert line.join(granted, asks(1)) is False
    assert line.pairs == 2


def test_a_line_that_stops_admitting_refuses_who_is_held_and_keeps_who_was_admitted() -> None:
    line = WaitingLine(1)
    join(line, asks(1))
    held = line.reserve(1, hold_seconds=60)
    line.stop_admitting()

    with pytest.raises(Overloaded, match="shutting down"):
        held.granted.result(0)
    with pytest.raises(Overloaded, match="shutting down"):
        line.reserve(1)
    assert ids(line.take(9, 0.0)) == [1]


def test_a_request_of_which_nothing_can_be_scored_makes_room_for_who_is_held() -> None:
    line = WaitingLine(4)
    unreadable = line.reserve(4)
    held, later = line.reserve(3, hold_seconds=60), line.reserve(1, hold_seconds=60)

    assert line.join(unreadable, [])

    assert (held.granted.done(), later.granted.done()) == (True, True)


def test_a_held_place_that_is_left_makes_room_for_the_one_behind_it() -> None:
    line = WaitingLine(4)
    join(line, asks(1, 2))
    large, small = line.reserve(3, hold_seconds=60), line.reserve(2, hold_seconds=60)

    large.leave()

    assert small.granted.done()


def test_a_held_place_is_refused_on_time_though_nothing_else_happens() -> None:
    line = WaitingLine(4)
    line.reserve(4)  # and still tokenised
    taking = threading.Thread(target=line.take, args=(9, 0.0), daemon=True)
    taking.start()
    patient, held = line.reserve(1, hold_seconds=60), line.reserve(1, hold_seconds=0.2)

    with pytest.raises(Overloaded, match="came free in time"):
        held.granted.result(10)
    assert not patient.granted.done()
    line.close()
    taking.join()

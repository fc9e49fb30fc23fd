"""A silent owner loses its job after a lease's time on the clock of whoever listens, whatever other clocks say."""

from datetime import UTC, datetime, timedelta

import pytest

from service.jobs import leases
from service.jobs.leases import Lease, Sign, Silence

BOB = Lease("bob", 30.0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


@pytest.mark.parametrize("jump", [timedelta(0), timedelta(days=-365), timedelta(days=365)])
def test_an_owner_is_silent_when_nothing_has_changed_for_a_leases_time(clock: Clock, jump: timedelta) -> None:
    silence = Silence(BOB)
    seen = {"job_1": Sign("alice", NOW + jump)}

    assert silence.over(seen, []) == {}
    clock.seconds += 29.9
    assert silence.over(seen, []) == {}
    clock.seconds += 0.1
    assert silence.over(seen, []) == seen


def test_any_change_is_a_sign_of_life_also_back_in_time(clock: Clock) -> None:
    silence = Silence(BOB)
    silence.over({"job_1": Sign("alice", NOW)}, [])
    clock.seconds += 29.0
    earlier = {"job_1": Sign("alice", NOW - timedelta(hours=1))}

    assert silence.over(earlier, []) == {}
    clock.seconds += 29.0
    assert silence.over(earlier, []) == {}
    clock.seconds += 1.0
    assert silence.over(earlier, []) == earlier


def test_what_was_given_up_or_is_our_own_and_unwatched_is_free_at_once(clock: Clock) -> None:
    seen = {"given_up": Sign("alice", None), "ours": Sign("bob", NOW), "watched": Sign("bob", NOW)}

    assert set(Silence(BOB).over(seen, ["watched"])) == {"given_up", "ours"}


def test_a_job_that_ran_in_between_elsewhere_is_listened_to_anew(clock: Clock) -> None:
    silence = Silence(BOB)
    seen = {"job_1": Sign("alice", NOW)}
    silence.over(seen, [])
    clock.seconds += 20.0
    silence.over({}, [])
    clock.seconds += 20.0

    assert silence.over(seen, []) == {}

"""How many workers may be lost: four in a row at one piece of work, any number over a long run or while they rested."""

from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from evaluation.workers.ray_actors import _Crew
from trainer.errors import RunFailed


class Lost(Exception):
    """As Ray says of a worker that is gone."""


class Never(Exception):
    """An error of a task."""


RAY = SimpleNamespace(
    exceptions=SimpleNamespace(RayError=Lost, RayTaskError=Never),
    wait=lambda streams, timeout: (streams[:1], streams[1:]),
    get=lambda reference: reference,
    kill=lambda actor: actor.end(),
)


class Actor:
    """Begins, unless it dies of it, and then dies of so many of the shards that all do."""

    def __init__(self, begins: bool, deaths: deque[str]) -> None:
        self.ended = False
        self.begin = SimpleNamespace(remote=lambda work: iter(()) if begins else self._die())
        self.do = SimpleNamespace(remote=lambda shard: self._die() if _took(deaths, shard) else iter([shard]))

    def end(self) -> None:
        self.ended = True

    def _die(self) -> Iterator[str]:
        raise Lost("out of memory")
        yield


def _took(deaths: deque[str], shard: str) -> bool:
    if shard in deaths:
        deaths.remove(shard)
        return True
    return False


def crew(beginnings: list[bool], shards: list[str], deaths: list[str]) -> Iterator[str | None]:
    left = iter(beginnings)
    remaining = deque(deaths)
    hire: Callable[[], Any] = lambda: Actor(next(left), remaining)  # noqa: E731
    return _Crew[str, str](cast(Any, RAY), hire, [], None, deque(shards), lambda text: None).work(1)


def test_beginnings_that_fail_now_and_then_add_up_to_nothing() -> None:
    beginnings = [False, False, True] * 4
    assert sorted(filter(None, crew(beginnings, ["a", "b", "c", "d"], ["a", "b", "c"]))) == ["a", "b", "c", "d"]


def test_four_workers_that_do_not_begin_end_the_run() -> None:
    with pytest.raises(RunFailed, match="4 workers were lost"):
        list(crew([False] * 5, ["a"], []))


def test_four_workers_that_die_of_one_shard_end_the_run_though_all_of_them_began() -> None:
    assert list(filter(None, crew([True] * 9, ["a"], ["a"] * 3))) == ["a"]
    with pytest.raises(RunFailed, match="4 workers were lost"):
        list(crew([True] * 9, ["a"], ["a"] * 4))


def test_who_has_done_one_kind_of_work_does_the_next() -> None:
    hired = [Actor(True, deque()) for _ in range(2)]
    left = iter(hired)
    rested: list[Any] = []
    for kind in (["a", "b", "c"], ["d"], ["e", "f"]):
        crew = _Crew[str, str](cast(Any, RAY), lambda: next(left), rested, None, deque(kind), lambda text: None)
        assert sorted(filter(None, crew.work(min(2, len(kind))))) == kind
        crew.dismiss()
        assert [actor.ended for actor in hired] == [False, False]
    assert sorted(map(id, rested)) == sorted(map(id, hired))


def test_any_number_may_be_lost_while_they_rest() -> None:
    rested: list[Any] = [Actor(False, deque()) for _ in range(9)]
    crew = _Crew[str, str](
        cast(Any, RAY), lambda: Actor(True, deque()), rested, None, deque(["a", "b"]), lambda text: None
    )
    assert sorted(filter(None, crew.work(2))) == ["a", "b"]

"""A share of what is served is kept, and no request ever waits or fails for it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from service.db.monitored import Crossed, active_alerts, keep_state, settle_alerts, states
from service.db.session import writing
from service.db.tables import ServedScore
from service.jobs.retention import forget
from service.jobs.samples import SAMPLES
from service.monitoring import sampling
from service.monitoring.sampling import Sampler
from service.settings import Settings

Sessions = sessionmaker[Session]
Start = Callable[..., Sampler]
Answered = Callable[..., Any]


def kept(make_session: Sessions) -> list[ServedScore]:
    with make_session() as session:
        return list(session.scalars(select(ServedScore).order_by(ServedScore.id)))


def dropped(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("assay_monitor_dropped_rows_total", {"reason": reason}) or 0.0


def test_a_score_is_kept_with_its_texts_and_a_failure_is_not(
    start_sampler: Start, answered: Answered, make_session: Sessions, registry: CollectorRegistry
) -> None:
    sampler = start_sampler(monitor_share=1.0, monitor_keep="text")
    sampler.offer(*answered([("what", {"this": 0.5, "gone": None}), ([{"role": "user", "content": "a"}], {"": 2.0})]))
    sampler.stop()

    first, second = kept(make_session)
    assert (first.scorer, first.prompt, first.response, first.score) == ("rm@3:score", "what", "this", 0.5)
    assert (first.response_characters, first.tokens, first.truncated_tokens) == (4, 9, 0)
    assert (second.prompt, second.response) == ([{"role": "user", "content": "a"}], "")
    assert registry.get_sample_value("assay_monitor_rows_total") == 2


@pytest.mark.parametrize(("keep", "hashed"), [("hash", True), ("none", False)])
def test_without_texts_only_hashes_or_nothing_is_kept(
    start_sampler: Start, answered: Answered, make_session: Sessions, keep: str, hashed: bool
) -> None:
    sampler = start_sampler(monitor_share=1.0, monitor_keep=keep)
    sampler.offer(*answered([("p", {"a": 1.0, "b": 2.0})]))
    sampler.stop()
    rows = kept(make_session)
    assert {(row.prompt, row.response) for row in rows} == {(None, None)}
    assert len({row.prompt_digest for row in rows}) == 1
    assert [row.response_digest is not None for row in rows] == [hashed, hashed]
    assert [row.response_characters for row in rows] == [1, 1]


def test_nothing_is_kept_where_the_share_is_0(start_sampler: Start, answered: Answered, make_session: Sessions) -> None:
    sampler = start_sampler(monitor_share=0.0)
    sampler.offer(*answered([("p", {"a": 1.0})]))
    sampler.stop()
    assert kept(make_session) == []


def test_the_share_is_of_prompts_and_the_same_ones_whoever_asks(
    start_sampler: Start, answered: Answered, make_session: Sessions
) -> None:
    items = [(f"prompt {number}", {"a": 0.0, "b": 1.0}) for number in range(1000)]
    first = start_sampler(monitor_share=0.25)
    first.offer(*answered(items))
    first.stop()
    once = [row.prompt_digest for row in kept(make_session)]
    second = Sampler(Settings(monitor_share=0.25), make_session)
    second.offer(*answered(items[::-1]))
    second.stop()

    # of 1,000 fair draws at 0.25 the standard deviation is 13.7
    assert 250 - 42 < len(set(once)) < 250 + 42
    assert len(once) == 2 * len(set(once)), "all responses to a prompt, or none"
    assert sorted(row.prompt_digest or "" for row in kept(make_session)) == sorted(2 * [one or "" for one in once])


def test_what_no_database_can_hold_is_replaced(
    start_sampler: Start, answered: Answered, make_session: Sessions, registry: CollectorRegistry
) -> None:
    sampler = start_sampler(monitor_share=1.0, monitor_keep="text")
    sampler.offer(*answered([("nul \x00", {"\x00 \ud800": 1.0}), ([{"role": "user", "content": "\x00"}], {"ok": 2.0})]))
    sampler.stop()
    first, second = kept(make_session)
    assert (first.prompt, first.response) == ("nul \ufffd", "\ufffd \ufffd")
    assert second.prompt == [{"role": "user", "content": "\ufffd"}]
    assert dropped(registry, "refused") == 0


def test_a_flood_fills_an_hour_and_no_more(
    start_sampler: Start,
    answered: Answered,
    make_session: Sessions,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    within = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)  # an hour of the clock, which may end at any moment
    monkeypatch.setattr(sampling, "datetime", SimpleNamespace(now=within.astimezone))
    first = start_sampler(monitor_share=1.0, monitor_rows_per_hour=30)
    second = Sampler(Settings(monitor_share=1.0, monitor_rows_per_hour=30), make_session)  # of another server
    for sampler in (second, first):
        sampler.offer(*answered([(f"p{number}", {"a": 0.0}) for number in range(20)]))
        sampler.stop()
    assert len(kept(make_session)) == 30
    assert dropped(registry, "hour") == 10


def test_a_flood_that_outruns_the_writer_is_counted_and_costs_requests_nothing(
    start_sampler: Start,
    answered: Answered,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling, "MOST_WAITING_ROWS", 50)
    monkeypatch.setattr(Sampler, "_write", lambda self: time.sleep(0.01) or True)
    sampler = start_sampler(monitor_share=1.0)
    for start in range(0, 200, 20):
        sampler.offer(*answered([(f"p{start + number}", {"a": 0.0}) for number in range(20)]))
    assert dropped(registry, "queue") == 150


def test_long_texts_fill_the_queue_before_memory(
    start_sampler: Start, answered: Answered, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_WAITING_CHARACTERS", 1000)
    monkeypatch.setattr(Sampler, "_write", lambda self: True)
    sampler = start_sampler(monitor_share=1.0, monitor_keep="text")
    sampler.offer(*answered([("p" * 300, {"a" * 100: 0.0, "b" * 100: 0.0, "c" * 100: 0.0})]))
    assert dropped(registry, "queue") == 1


def test_samples_wait_while_the_database_is_away(
    start_sampler: Start,
    answered: Answered,
    make_session: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., None],
) -> None:
    away = iter([True, True, False, False])
    store = sampling.store_served

    def flaky(*arguments: Any, **named: Any) -> int:
        if next(away):
            raise OperationalError("INSERT", None, Exception("server closed the connection"))
        return store(*arguments, **named)

    monkeypatch.setattr(sampling, "store_served", flaky)
    monkeypatch.setattr(sampling, "_PAUSE_SECONDS", 0.01)
    sampler = start_sampler(monitor_share=1.0)
    sampler.offer(*answered([("p", {"a": 1.0})]))
    until(lambda: len(kept(make_session)) == 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_died_is_replaced_at_the_next_request(
    start_sampler: Start,
    answered: Answered,
    make_session: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., None],
) -> None:
    write = Sampler._write
    monkeypatch.setattr(sampling, "_PAUSE_SECONDS", 0.01)

    def dies(sampler: Sampler) -> bool:
        raise SystemExit  # ends a thread without a word

    monkeypatch.setattr(Sampler, "_write", dies)
    sampler = start_sampler(monitor_share=1.0)
    sampler.offer(*answered([("p", {"a": 1.0})]))
    until(lambda: sampler._thread is not None and not sampler._thread.is_alive())
    monkeypatch.setattr(Sampler, "_write", write)
    sampler.offer(*answered([("q", {"a": 1.0})]))
    until(lambda: len(kept(make_session)) == 2)


def test_a_sample_that_cannot_be_made_fails_no_request(
    start_sampler: Start, answered: Answered, registry: CollectorRegistry
) -> None:
    items, answer = answered([("p", {"a": 1.0}), ("q", {"a": 1.0})])
    start_sampler(monitor_share=1.0).offer(items[:1], answer)
    assert dropped(registry, "failure") == 1


def test_retention_deletes_samples_and_what_audits_made_of_their_texts(
    start_sampler: Start, answered: Answered, make_session: Sessions, settings: Settings
) -> None:
    sampler = start_sampler(monitor_share=1.0)
    sampler.offer(*answered([("old", {"a": 1.0}), ("new", {"a": 2.0})]))
    sampler.stop()
    file = settings.runs_dir / SAMPLES / "1.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("{}\n")
    with writing(make_session) as session:
        session.get_one(ServedScore, kept(make_session)[0].id).time = datetime.now(UTC) - timedelta(days=8)

        crossed = Crossed("drift", "rm@3:score", "score", 0.3, 0.2, "it moved")
        settle_alerts(session, [crossed], [], datetime.now(UTC))
        keep_state(session, "rm@3:score", reference=None, state={"scorer": "rm@3:score"}, now=datetime.now(UTC))

    forget(make_session, settings.model_copy(update={"monitor_keep_days": 7.0}))
    with make_session() as session:
        assert (len(states(session)), active_alerts(session)["drift"]) == (1, 1)
    assert [row.score for row in kept(make_session)] == [2.0]
    assert file.exists()
    forget(make_session, settings.model_copy(update={"monitor_keep_days": 1e-9}))
    assert kept(make_session) == []
    assert not file.exists()
    with make_session() as session:
        assert states(session) == [], "also where nobody looks, the share being 0"
        assert active_alerts(session)["drift"] == 0

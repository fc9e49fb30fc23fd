"""Trust is stale when two periods went by without an audit, and that is an alert where something waits for one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.monitored import active_alerts, list_alerts, states
from service.db.session import writing
from service.db.tables import Job
from service.jobs.kinds import parse_any_recipe
from service.jobs.samples import SampleAudit
from service.monitoring.alerts import record_of
from service.monitoring.gauges import MonitoringCollector
from service.monitoring.state import ScorerState, as_of
from service.monitoring.watch import Watch
from service.settings import Settings

Sessions = sessionmaker[Session]
Keep = Callable[..., None]

HOUR = timedelta(hours=1)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SCORER = "rm@3:score"
ROW = {"scorer": SCORER, "statistic": "pearson_pooled", "temperature": None}


def key(start: datetime, scorer: str = SCORER) -> str:
    """Of the hourly audit that is due in the hour from ``start`` on."""
    return SampleAudit(scorer, start, HOUR).key


@pytest.fixture
def make_watch(settings: Settings, make_session: Sessions, tmp_path: Path) -> Callable[..., Watch]:
    file = tmp_path / "audit.yaml"
    file.write_text("judges: [{kind: product_world}]\n")
    hourly = {"monitor_keep": "text", "monitor_audit_hours": 1.0, "monitor_audit_recipe": file}

    def make(**changes: Any) -> Watch:
        changed = settings.model_copy(update={"monitor_share": 1.0, "monitor_min_lower": 0.3, **hourly, **changes})
        return Watch(changed, make_session, parse_any_recipe)

    return make


def opened(make_session: Sessions) -> dict[str, str]:
    """``{kind: detail}`` of the open alerts."""
    with make_session() as session:
        return {alert.kind: alert.detail for alert in list_alerts(session, active=True, cursor=None, limit=9)[0]}


def state_at(make_session: Sessions, now: datetime) -> ScorerState:
    with make_session() as session:
        [state] = as_of(now, states(session))
    return state


def test_a_key_tells_which_audit_it_is() -> None:
    audit = SampleAudit("a:b@3:score", NOON, timedelta(days=14))
    assert audit.key == "monitoring:a:b@3:score:2026-05-04T12:00:00/1.2096e+06s"
    assert SampleAudit.read(audit.key) == audit
    assert SampleAudit.read("monitoring:1") is None
    assert audit.texts_since == datetime(2026, 4, 20, 12, tzinfo=UTC)
    assert audit.fresh_until == datetime(2026, 6, 15, 12, tzinfo=UTC), "the third of its periods has ended"


def test_trust_goes_stale_after_two_periods_without_an_audit_and_the_next_clears_it(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    for hours in range(5):  # 30 pairs in each of the hours from 12 on
        keep(30, at=NOON + hours * HOUR, texts=True)
    correlate([{**ROW, "lower": 0.4}], at=NOON + HOUR / 10, kind="audit", idempotency_key=key(NOON))
    last = NOON + 3 * HOUR - timedelta(seconds=1)
    make_watch().look(last)  # the audits of 13 and 14 o'clock have not ended: the second may still
    assert not state_at(make_session, last).trust[0].stale
    assert opened(make_session) == {}

    late = NOON + 3 * HOUR
    make_watch().look(late)
    assert state_at(make_session, late).trust[0].stale
    said = "no audit has ended for 2 periods: what was scored from 2026-05-04 12:00 UTC on was not judged"
    assert opened(make_session) == {"stale": said}
    make_watch().look(late + 2 * HOUR)
    assert opened(make_session) == {"stale": said.replace("2 periods", "4 periods")}, "one alert, kept true"

    ended = late + 2 * HOUR + HOUR / 10
    with writing(make_session) as session:  # the latest of those that were queued by looking
        [job] = session.scalars(select(Job).where(Job.idempotency_key == key(late + 2 * HOUR)))
        job.idempotency_key = None
    correlate([{**ROW, "lower": 0.2}], at=ended, kind="audit", idempotency_key=key(late + 2 * HOUR))
    make_watch().look(ended)
    assert not state_at(make_session, ended).trust[0].stale
    assert opened(make_session) == {"trust": "r pooled with judge: lower end 0.20, at least 0.30 wanted"}


def test_stale_trust_has_no_lower_end_in_prometheus_and_leaves_what_was_raised(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    keep(30, at=NOON, texts=True)
    correlate([{**ROW, "lower": 0.2}], at=NOON, kind="audit", idempotency_key=key(NOON))
    make_watch().look(NOON)
    registry = CollectorRegistry()
    registry.register(MonitoringCollector(make_session))  # which reads the clock: it is later than 2026-05-04 15:00
    labels = {"scorer": SCORER, "oracle": "judge"}
    assert registry.get_sample_value("assay_trust_stale", labels) == 1
    assert registry.get_sample_value("assay_trust_lower", labels) is None
    make_watch(monitor_min_lower=0.1).look(NOON + 4 * HOUR)
    with make_session() as session:
        assert active_alerts(session) == {"trust": 1, "drift": 0, "stale": 1}, "a stale number clears nothing"
    assert registry.get_sample_value("assay_alerts_active", {"kind": "stale"}) == 1


def test_a_scorer_that_nobody_asks_any_more_is_stale_without_an_alert(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    keep(30, at=NOON - HOUR, texts=True)  # all of them judged by the audit
    keep(19, at=NOON, texts=True)  # too few for another
    correlate([{**ROW, "lower": 0.4}], at=NOON, kind="audit", idempotency_key=key(NOON))
    later = NOON + 24 * HOUR
    make_watch().look(later)
    assert state_at(make_session, later).trust[0].stale
    assert opened(make_session) == {}


def test_pairs_of_which_no_period_has_enough_raise_nothing(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    correlate([{**ROW, "lower": 0.4}], at=NOON, kind="audit", idempotency_key=key(NOON))
    for hours in range(4):  # 40 different pairs, ten an hour, which no audit will ever read
        keep(10, at=NOON + hours * HOUR + timedelta(seconds=hours), texts=True, first=10 * hours)
    make_watch().look(NOON + 8 * HOUR)
    assert opened(make_session) == {}


def test_the_latest_audit_is_that_of_the_latest_texts_whichever_ended_last(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    keep(30, at=NOON, texts=True)
    late = NOON + HOUR * 1.5
    correlate([{**ROW, "lower": 0.4}], at=NOON + HOUR * 1.1, kind="audit", idempotency_key=key(NOON + HOUR))
    correlate([{**ROW, "lower": 0.2}], at=late, kind="audit", idempotency_key=key(NOON))
    make_watch().look(late)
    [trust] = state_at(make_session, late).trust
    assert (trust.latest.lower, trust.fresh_until) == (0.4, NOON + 4 * HOUR)
    assert opened(make_session) == {}


def test_a_judge_that_never_answered_is_told_as_well_and_a_schedule_that_just_began_is_not_late(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions
) -> None:
    keep(60, at=NOON - 50 * HOUR, texts=True)  # before anybody wanted audits
    keep(60, at=NOON - HOUR, texts=True)
    for hours in (0, 1):
        make_watch().look(NOON + hours * HOUR)  # queues the audit of 12 o'clock, which never ends
    assert opened(make_session) == {}
    make_watch().look(NOON + 2 * HOUR)
    assert opened(make_session)["stale"].startswith(
        "no audit has ended for 2 periods: what was scored from 2026-05-04 11"
    )
    make_watch(monitor_audit_hours=None).look(NOON + 2 * HOUR)
    assert opened(make_session) == {}, "who wants no audits misses none"


def test_an_oracle_that_is_asked_no_more_takes_its_alert_along(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    keep(3, at=NOON, texts=True)
    of_two = [{**ROW, "lower": 0.2}, {**ROW, "lower": 0.2, "oracle": "other"}]
    correlate(of_two, at=NOON, kind="audit", idempotency_key=key(NOON))
    make_watch().look(NOON)
    with make_session() as session:
        assert active_alerts(session)["trust"] == 2
    correlate([{**ROW, "lower": 0.2}], at=NOON + HOUR, kind="audit", idempotency_key=key(NOON + HOUR))
    make_watch().look(NOON + HOUR)
    with make_session() as session:
        [alert] = list_alerts(session, active=True, cursor=None, limit=9)[0]
    assert (record_of(alert).kind, record_of(alert).subject) == ("trust", "judge")
    assert [each.oracle for each in state_at(make_session, NOON).trust] == ["judge"]

"""The watch says how far scores drifted and how far they can be trusted, and raises each alert once."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.monitored import states
from service.db.session import writing
from service.db.tables import Alert, Correlation, Job, MonitoredScorer, ServedScore
from service.jobs.kinds import parse_any_recipe
from service.monitoring import watch as watch_module
from service.monitoring.gauges import MonitoringCollector
from service.monitoring.state import ScorerState
from service.monitoring.watch import Watch
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput

Sessions = sessionmaker[Session]
Keep = Callable[..., None]

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
DAYS_AGO = NOW - timedelta(days=5)
HOUR_AGO = NOW - timedelta(hours=1)
SCORER = "rm@3:score"


@pytest.fixture
def make_watch(settings: Settings, make_session: Sessions) -> Callable[..., Watch]:
    def make(**changes: Any) -> Watch:
        changed = settings.model_copy(update={"monitor_share": 1.0, **changes})
        return Watch(changed, make_session, parse_any_recipe)

    return make


def found(make_session: Sessions) -> ScorerState:
    with make_session() as session:
        [state] = states(session)
    return ScorerState.model_validate(state)


def alerts(make_session: Sessions) -> list[Alert]:
    with make_session() as session:
        return list(session.scalars(select(Alert).order_by(Alert.id)))


def wave(number: int) -> float:
    return (number * 37 % 101) / 101


def test_the_latest_are_compared_with_the_first_thousand(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions
) -> None:
    keep(999, at=DAYS_AGO, score=wave)
    make_watch().look(NOW)
    early = found(make_session)
    assert (early.rows, early.drift, early.trust) == (999, None, [])
    assert early.reference == "the first 1,000 scores kept"

    keep(1, at=DAYS_AGO + timedelta(seconds=999), score=wave)
    keep(400, at=HOUR_AGO, score=lambda number: wave(number) + 0.5, characters=30, truncated=1)
    make_watch().look(NOW)
    state = found(make_session)
    drift = state.drift
    assert drift is not None
    assert (drift.n_now, drift.n_reference) == (400, 1000)
    assert drift.score.distance.estimate == pytest.approx(0.5, abs=0.02)  # of two uniform laws half a width apart
    assert drift.score.shift.estimate == pytest.approx(0.5 * 12**0.5, abs=0.05)
    assert drift.length.distance.estimate == 1.0
    assert drift.truncated.estimate == 1.0
    assert state.reference.endswith("2026-04-29 12:30 to 2026-04-29 12:46 UTC")


def test_the_reference_outlives_its_rows(make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions) -> None:
    keep(1000, at=DAYS_AGO, score=wave)
    make_watch().look(NOW)
    with writing(make_session) as session:
        for row in session.scalars(select(ServedScore)):
            session.delete(row)
    keep(1200, at=HOUR_AGO, score=wave)
    make_watch().look(NOW)
    drift = found(make_session).drift
    assert drift is not None
    assert drift.least() == {"score": 0.0, "length": 0.0, "truncated": 0.0}
    with make_session() as session:
        reference = session.get_one(MonitoredScorer, SCORER).reference
    assert reference is not None
    assert reference.keys() == {"from", "until", "prompt", "score", "characters", "cut"}, "numbers alone"


def test_a_drift_is_raised_once_and_cleared_when_it_is_over(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions
) -> None:
    keep(1000, at=DAYS_AGO, score=wave)
    keep(300, at=HOUR_AGO, score=lambda number: wave(number) + 0.5)
    watching = make_watch(monitor_max_drift=0.2)
    for _ in range(2):
        watching.look(NOW)
    make_watch(monitor_max_drift=0.2).look(NOW)  # another server
    [raised] = alerts(make_session)
    assert (raised.kind, raised.subject, raised.cleared_at) == ("drift", "score", None)
    assert 0.3 < raised.lower < 0.5

    keep(300, at=NOW + timedelta(hours=23), score=wave)
    watching.look(NOW + timedelta(days=1, minutes=30))
    [cleared] = alerts(make_session)
    assert cleared.open_key is None
    assert cleared.cleared_at == NOW + timedelta(days=1, minutes=30)


def test_trust_below_the_operators_bound_is_raised_and_cleared_by_the_next_audit(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    keep(3, at=HOUR_AGO)
    key = {"kind": "audit", "idempotency_key": "monitoring:1"}
    row = {"scorer": SCORER, "statistic": "pearson_pooled", "temperature": None}
    run = correlate([{**row, "estimate": 0.5, "lower": 0.25, "upper": 0.7}], at=HOUR_AGO, **key)
    correlate([{**row, "lower": -0.5}], at=NOW, kind="audit", idempotency_key="of somebody")
    watching = make_watch(monitor_min_lower=0.3)
    for _ in range(2):
        watching.look(NOW)
    [trust] = found(make_session).trust
    assert (trust.oracle, trust.latest.run, trust.latest.lower) == ("judge", run, 0.25)
    [raised] = alerts(make_session)
    assert (raised.kind, raised.subject, raised.lower, raised.threshold) == ("trust", "judge", 0.25, 0.3)

    undefined = {**row, "undefined_reason": "too few"}
    correlate([undefined], at=NOW + timedelta(hours=1), **{**key, "idempotency_key": "monitoring:2"})
    watching.look(NOW + timedelta(hours=1))
    assert alerts(make_session)[0].cleared_at is None, "no number is no news"

    correlate([{**row, "lower": 0.31}], at=NOW + timedelta(hours=2), **{**key, "idempotency_key": "monitoring:3"})
    watching.look(NOW + timedelta(hours=2))
    [cleared] = alerts(make_session)
    assert cleared.cleared_at == NOW + timedelta(hours=2)
    assert [each.lower for each in found(make_session).trust[0].audits] == [0.31, None, 0.25]


def test_a_scorer_that_is_not_served_any_more_is_forgotten_with_its_alerts(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions
) -> None:
    keep(1000, at=DAYS_AGO, score=wave)
    keep(300, at=HOUR_AGO, score=lambda number: wave(number) + 0.5)
    watching = make_watch(monitor_max_drift=0.2)
    watching.look(NOW)
    watching.look(NOW + timedelta(days=40))
    with make_session() as session:
        assert states(session) == []
    assert alerts(make_session)[0].cleared_at == NOW + timedelta(days=40)


def test_prometheus_reads_the_same(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, correlate: Callable[..., str]
) -> None:
    keep(1000, at=DAYS_AGO, score=wave)
    keep(300, at=HOUR_AGO, score=lambda number: wave(number) + 0.5)
    row = {"scorer": SCORER, "statistic": "pearson_pooled", "temperature": None, "lower": 0.2}
    correlate([row], kind="audit", idempotency_key="monitoring:1")
    make_watch(monitor_max_drift=0.2, monitor_min_lower=0.3).look(NOW)
    registry = CollectorRegistry()
    registry.register(MonitoringCollector(make_session))
    assert registry.get_sample_value("assay_trust_lower", {"scorer": SCORER, "oracle": "judge"}) == 0.2
    with make_session() as session:
        (of,) = session.scalars(select(Correlation.created_at))
    audited = registry.get_sample_value("assay_trust_audited_timestamp_seconds", {"scorer": SCORER, "oracle": "judge"})
    assert audited == of.timestamp()
    drift = {"scorer": SCORER, "measure": "score"}
    assert registry.get_sample_value("assay_drift", drift) == pytest.approx(0.5, abs=0.02)
    assert 0.3 < (registry.get_sample_value("assay_drift_lower", drift) or 0) < 0.5
    assert registry.get_sample_value("assay_alerts_active", {"kind": "trust"}) == 1
    assert registry.get_sample_value("assay_alerts_active", {"kind": "drift"}) == 1


def test_a_step_that_fails_is_logged_and_the_next_goes_on(
    make_watch: Callable[..., Watch],
    keep: Keep,
    make_session: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(3, at=HOUR_AGO, scorer="a@1:score")
    keep(3, at=HOUR_AGO, scorer="b@1:score")
    look = watch_module.reference_of

    def breaks(session: Session, artifacts: ArtifactStore, scorer: str) -> Any:
        if scorer.startswith("a"):
            raise OSError("no")
        return look(session, artifacts, scorer)

    monkeypatch.setattr(watch_module, "reference_of", breaks)
    with caplog.at_level(logging.ERROR):
        make_watch().look(NOW)
    assert found(make_session).scorer == "b@1:score"
    assert "_renew failed" in caplog.text


def test_it_looks_by_itself_and_stops(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, until: Callable[..., None]
) -> None:
    keep(3, at=datetime.now(UTC))
    watching = make_watch(monitor_check_seconds=0.01)
    watching.start()
    until(lambda: bool(count(make_session)))
    watching.stop()
    off = make_watch(monitor_share=0.0)
    off.start()
    off.stop()


def count(make_session: Sessions) -> int:
    with make_session() as session:
        return len(states(session))


def jobs(make_session: Sessions) -> list[Job]:
    with make_session() as session:
        return list(session.scalars(select(Job)))


def test_an_audit_is_queued_once_a_period_whoever_looks(
    make_watch: Callable[..., Watch], keep: Keep, make_session: Sessions, tmp_path: Path
) -> None:
    file = tmp_path / "audit.yaml"
    file.write_text("judges: [{kind: product_world}]\nlimit: 30\n")
    hourly: dict[str, Any] = {"monitor_keep": "text", "monitor_audit_hours": 1.0, "monitor_audit_recipe": file}
    keep(60, at=NOW - timedelta(minutes=40), texts=True)  # from 11:50 on; the period that has ended is 11 to 12
    first, second = make_watch(**hourly), make_watch(**hourly)
    first.look(NOW)
    keep(1, at=NOW - timedelta(minutes=31), texts=True)  # a server that wrote late: another sample by now
    for watching in (second, first, second):
        watching.look(NOW)
    [job] = jobs(make_session)
    assert (job.kind, job.name, job.recipe["scorers"]) == ("audit", "monitoring", [SCORER])
    assert job.recipe["on_overlong"] == "truncate_prompt"
    assert len(Path(job.recipe["path"]).read_text().splitlines()) == 30
    first.look(NOW + timedelta(hours=1))  # nothing was served between 12 and 13
    assert len(jobs(make_session)) == 1
    keep(20, at=NOW + timedelta(minutes=45), texts=True)
    second.look(NOW + timedelta(hours=2))
    assert len(jobs(make_session)) == 2


def test_the_late_of_two_servers_finds_the_others_audit(
    make_watch: Callable[..., Watch],
    keep: Keep,
    make_session: Sessions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from service.monitoring import audits

    file = tmp_path / "audit.yaml"
    file.write_text("judges: [{kind: product_world}]\n")
    hourly: dict[str, Any] = {"monitor_keep": "text", "monitor_audit_hours": 1.0, "monitor_audit_recipe": file}
    keep(60, at=NOW - timedelta(minutes=40), texts=True)
    submit = audits.submit

    def late(*arguments: Any, **named: Any) -> str:
        monkeypatch.setattr(audits, "submit", submit)
        keep(1, at=NOW - timedelta(minutes=31), texts=True)
        make_watch(**hourly).look(NOW)
        return submit(*arguments, **named)

    monkeypatch.setattr(audits, "submit", late)
    make_watch(**hourly).look(NOW)
    [job] = jobs(make_session)
    assert [path.name for path in Path(job.recipe["path"]).parent.iterdir()] == [Path(job.recipe["path"]).name]


@pytest.mark.parametrize(
    ("changes", "content", "said"),
    [
        ({"monitor_keep": "hash"}, "judges: [{kind: product_world}]", "ASSAY_MONITOR_KEEP=text"),
        ({"monitor_share": 0.0}, "judges: [{kind: product_world}]", "ASSAY_MONITOR_SHARE above 0"),
        ({"monitor_audit_recipe": None}, "", "ASSAY_MONITOR_AUDIT_RECIPE"),
        ({"monitor_keep_days": 2.9 / 24}, "judges: [{kind: product_world}]", "less than 3 periods"),
        ({}, "judges: []", "give judges"),
        ({}, "judges: [{kind: delphi}]", r"audit\.yaml: .*delphi"),
        ({}, "judges: [{kind: product_world}]\npath: x", "leave out path"),
        ({}, "[", "not a readable YAML"),
    ],
)
def test_a_schedule_that_can_come_to_nothing_is_refused_at_the_start(
    make_watch: Callable[..., Watch], tmp_path: Path, changes: dict[str, Any], content: str, said: str
) -> None:
    file = tmp_path / "audit.yaml"
    file.write_text(content)
    plain = {"monitor_keep": "text", "monitor_audit_hours": 1.0, "monitor_audit_recipe": file}
    with pytest.raises(InvalidInput, match=said):
        make_watch(**{**plain, **changes})

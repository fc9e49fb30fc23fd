"""What Prometheus is told of monitored scorers, as the database has it when it asks."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from service.db.failures import database_errors
from service.db.monitored import active_alerts, states
from service.monitoring.state import as_of
from trainer.errors import AssayError


class MonitoringCollector(Collector):
    """Trust and drift by scorer, and open alerts."""

    def __init__(self, make_session: sessionmaker[Session]) -> None:
        self._make_session = make_session

    def describe(self) -> Iterable[Metric]:
        return []  # without it the registry would ask the database while the application is put together

    def collect(self) -> Iterator[Metric]:
        try:
            with database_errors(), self._make_session() as session:
                found = as_of(datetime.now(UTC), states(session))
                alerts = active_alerts(session)
        except (
            AssayError,
            SQLAlchemyError,
            ValidationError,
        ):  # ``assay_database_up`` says so, or a newer version wrote
            return
        trust = GaugeMetricFamily(
            "assay_trust_lower", "Lower end of the latest audit's correlation", labels=["scorer", "oracle"]
        )
        audited = GaugeMetricFamily(
            "assay_trust_audited_timestamp_seconds", "When that audit was, in Unix time", labels=["scorer", "oracle"]
        )
        stale = GaugeMetricFamily(
            "assay_trust_stale",
            "Whether audits stopped: then there is no lower end",
            labels=["scorer", "oracle"],
        )
        drift = GaugeMetricFamily("assay_drift", "Share of the distribution that moved", labels=["scorer", "measure"])
        least = GaugeMetricFamily("assay_drift_lower", "Lower end of its interval", labels=["scorer", "measure"])
        for state in found:
            for each in state.trust:
                audited.add_metric([state.scorer, each.oracle], each.latest.at.timestamp())
                stale.add_metric([state.scorer, each.oracle], float(each.stale))
                if each.latest.lower is not None and not each.stale:
                    trust.add_metric([state.scorer, each.oracle], each.latest.lower)
            for measure, size in state.drift.sizes().items() if state.drift else ():
                if size.estimate is not None:
                    drift.add_metric([state.scorer, measure], abs(size.estimate))
            for measure, lower in state.drift.least().items() if state.drift else ():
                least.add_metric([state.scorer, measure], lower)
        active = GaugeMetricFamily("assay_alerts_active", "Bounds crossed now, audits that stopped", labels=["kind"])
        for kind, count in alerts.items():
            active.add_metric([kind], count)
        yield from (trust, audited, stale, drift, least, active)

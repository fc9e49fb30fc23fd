"""What Prometheus is told: requests, scores and batches as they happen, jobs from the database when it asks.

Everything is kept in a registry of the application's own. Labels are bounded: routes are templates, scorers are
artifacts, errors have codes.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from evaluation.engine.meter import BatchReading, EngineMeter, Waiting
from evaluation.engine.terms import Priority
from service.db.failures import database_errors
from service.db.job_counts import job_counts, oldest_queued_seconds
from service.middleware import Finished, matched_route
from service.monitoring.gauges import MonitoringCollector
from service.score_schema import AnsweringScorer, NoScore, Score, ScoreAnswer
from trainer.errors import AssayError

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0)
_SCORES = (-20.0, -10.0, -5.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
_TOKENS = tuple(float(2**power) for power in range(5, 18))

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Requests by method, route and status, and how long their answers took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "assay_http_requests", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "assay_http_request_seconds",
            "Time until the whole answer was sent",
            ("method", "route"),
            buckets=_SECONDS,
            registry=registry,
        )

    def observe(self, over: Finished) -> None:
        method = over.method if over.method in _METHODS else "other"
        route = route_of(over)
        self._requests.labels(method, route, str(over.status)).inc()
        self._seconds.labels(method, route).observe(over.seconds)


def route_of(over: Finished) -> str:
    """The path's template, so that ids do not make metrics without end."""
    return str(getattr(matched_route(over.scope), "path", None) or "unmatched")


class ScoreMetrics:
    """What scorers said, by exact version: scores, tokens, what was cut, and what went wrong."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scores = Histogram("assay_score", "Scores given", ("scorer",), buckets=_SCORES, registry=registry)
        self._tokens = Counter("assay_scored_tokens", "Tokens of scored pairs", ("scorer",), registry=registry)
        self._cut_pairs = Counter("assay_truncated_pairs", "Pairs whose prompt was cut", ("scorer",), registry=registry)
        self._cut_tokens = Counter("assay_truncated_tokens", "Tokens cut from prompts", ("scorer",), registry=registry)
        self._errors = Counter(
            "assay_score_errors", "Pairs without a score, by reason", ("scorer", "code"), registry=registry
        )

    def observe(self, answer: ScoreAnswer) -> None:
        """Count every cell of an answer."""
        for scorer in answer.scorers:
            label = "unusable"
            if isinstance(scorer, AnsweringScorer):
                label = f"{scorer.name}@{scorer.version}:{scorer.output}"
            cells = [row[scorer.scorer] for item in answer.items for row in item.scores]
            for cell in cells:
                if isinstance(cell, NoScore):
                    self._errors.labels(label, cell.error.code).inc()
            if found := [cell for cell in cells if isinstance(cell, Score)]:
                scores = self._scores.labels(label)
                for cell in found:
                    scores.observe(cell.score)
                self._tokens.labels(label).inc(sum(cell.tokens for cell in found))
            if cut := [cell.truncated_tokens for cell in found if cell.truncated_tokens]:
                self._cut_pairs.labels(label).inc(len(cut))
                self._cut_tokens.labels(label).inc(sum(cut))


class EngineMetrics(EngineMeter):
    """Hears what the scoring engine does, from any of its threads.

    Tokens a second are ``rate(assay_batch_tokens_sum[1m])``.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Histogram("assay_batch_tokens", "Tokens of a batch", buckets=_TOKENS, registry=registry)
        self._seconds = Histogram("assay_batch_seconds", "Time of a batch", buckets=_SECONDS, registry=registry)
        self._rows = Counter("assay_batch_rows", "Pairs in batches", registry=registry)
        self._padding = Counter("assay_padding_tokens", "Positions that held no token", registry=registry)
        self._prefix = Counter("assay_prefix_hits", "Pairs whose prompt was read for another", registry=registry)
        self._halved = Counter("assay_batches_halved", "Batches divided", ("reason",), registry=registry)
        self._wait = Histogram(
            "assay_queue_wait_seconds", "Time in the line", ("priority",), buckets=_SECONDS, registry=registry
        )
        self._line = _LineCollector()
        registry.register(self._line)

    def waited(self, priority: Priority, seconds: float) -> None:
        """A pair left the line."""
        self._wait.labels(priority.name.lower()).observe(seconds)

    def batch(self, reading: BatchReading) -> None:
        """A batch was scored."""
        self._tokens.observe(reading.tokens)
        self._seconds.observe(reading.seconds)
        self._rows.inc(reading.rows)
        self._padding.inc(reading.padding)
        self._prefix.inc(reading.prefix_hits)

    def halved(self, *, out_of_memory: bool) -> None:
        """A batch failed and was divided."""
        self._halved.labels("memory" if out_of_memory else "failure").inc()

    def scored(self, scorer: str, score: float, truncated_tokens: int) -> None:
        """Nothing: scores are counted in the answers, where those that never reach the engine are too."""

    def failed(self, scorer: str, code: str) -> None:
        """Nothing, likewise."""

    def watch_line(self, look: Callable[[], Waiting]) -> None:
        """Ask ``look`` what waits whenever Prometheus asks."""
        self._line.look = look


class _LineCollector(Collector):
    look: Callable[[], Waiting] | None = None

    def collect(self) -> Iterable[Metric]:
        if self.look is None:
            return
        found = self.look()
        yield GaugeMetricFamily("assay_queue_depth", "Pairs waiting for their scores", value=found.pairs)
        yield GaugeMetricFamily("assay_queue_held", "Pairs waiting for room in it", value=found.held_pairs)
        yield GaugeMetricFamily("assay_queue_age_seconds", "Longest wait in the line", value=found.oldest_seconds)


class JobCollector(Collector):
    """Jobs by kind and status, and how long finished ones took, as the database has them now."""

    def __init__(self, make_session: sessionmaker[Session]) -> None:
        self._make_session = make_session

    def describe(self) -> Iterable[Metric]:
        return []  # without it the registry would ask the database while the application is put together

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("assay_database_up", "Whether the database answers; what is counted in it needs it")
        try:
            with database_errors(), self._make_session() as session:
                counts = job_counts(session)
                waiting = oldest_queued_seconds(session)
        except (AssayError, SQLAlchemyError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        jobs = GaugeMetricFamily("assay_jobs", "Jobs there are", labels=["kind", "status"])
        seconds = CounterMetricFamily("assay_job_seconds", "Time finished jobs took", labels=["kind", "status"])
        finished = CounterMetricFamily("assay_jobs_finished", "Jobs that ran to an end", labels=["kind", "status"])
        for row in counts:
            jobs.add_metric([row.kind, row.status], row.jobs)
            if row.finished:
                seconds.add_metric([row.kind, row.status], row.seconds)
                finished.add_metric([row.kind, row.status], row.finished)
        age = GaugeMetricFamily("assay_jobs_oldest_queued_seconds", "How long the first in the queue waits")
        age.add_metric([], waiting)
        yield from (up, jobs, seconds, finished, age)


class Metrics:
    """All of them."""

    def __init__(self, make_session: sessionmaker[Session]) -> None:
        self.registry = CollectorRegistry()
        self.requests = RequestMetrics(self.registry)
        self.scores = ScoreMetrics(self.registry)
        self.engine = EngineMetrics(self.registry)
        self.registry.register(JobCollector(make_session))
        self.registry.register(MonitoringCollector(make_session))

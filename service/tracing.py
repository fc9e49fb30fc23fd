"""OpenTelemetry spans: each request, the stages of its scoring, and the batches that the engine made meanwhile.

Where they go, and how many of them, is said by the standard ``OTEL_*`` variables. As in the log nothing of what a
request carries gets here: neither headers nor bodies nor queries.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from evaluation.engine.meter import BatchReading, EngineMeter
from evaluation.engine.terms import Priority
from service.metrics import route_of
from service.middleware import Finished
from trainer.errors import InvalidInput
from trainer.manifest import code_version

if TYPE_CHECKING:
    pass


_UNTRACED = ("/livez", "/readyz", "/metrics", "/static/")
_SPAN = "span"


class Tracing:
    """Spans of one server."""

    def __init__(self) -> None:
        """Sends by OTLP over HTTP. Raises InvalidInput where the extra is missing."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise InvalidInput("tracing needs OpenTelemetry: pip install 'reward-assay[tracing]'") from error
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "assay"}
        self.provider: TracerProvider = TracerProvider(
            resource=Resource.create({"service.version": code_version(), **named})
        )
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self.provider.get_tracer("assay")

    def stage(self, name: str) -> AbstractContextManager[object]:
        """A span around a stage of the request under way."""
        return self._tracer.start_as_current_span(name)

    def meter(self, inner: EngineMeter) -> EngineMeter:
        """``inner``, with a span for each batch. A batch belongs to many requests, so it is nobody's child."""
        return _TracedBatches(inner, self._batch)

    def around(self, app: ASGIApp) -> ASGIApp:
        """``app`` with a span for each request, which continues the trace that its ``traceparent`` names."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or _below_prefix(scope).startswith(_UNTRACED):
                await app(scope, receive, send)
                return
            sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            method = scope["method"]
            came_from = propagate.extract(sent)
            with self._tracer.start_as_current_span(method, came_from, SpanKind.SERVER) as span:
                scope.setdefault("state", {})[_SPAN] = span
                await app(scope, receive, send)

        return traced

    def request(self, over: Finished) -> None:
        """Tell the span of a request what is known when it is over, by OpenTelemetry's names."""
        from opentelemetry.trace import StatusCode

        if (span := over.scope["state"].get(_SPAN)) is None:
            return
        route = route_of(over)
        span.update_name(f"{over.method} {route}")
        span.set_attributes(
            {
                "http.request.method": over.method,
                "http.route": route,
                "url.path": over.path,
                "http.response.status_code": over.status,
                "assay.request_id": over.request_id,
            }
        )
        if over.status >= 500:
            span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()

    def _batch(self, reading: BatchReading) -> None:
        ended = time.time_ns()
        span = self._tracer.start_span("assay.batch", start_time=ended - int(reading.seconds * 1e9))
        span.set_attribute("assay.rows", reading.rows)
        span.set_attribute("assay.tokens", reading.tokens)
        span.set_attribute("assay.padding", reading.padding)
        span.set_attribute("assay.prefix_hits", reading.prefix_hits)
        span.end(ended)


def _below_prefix(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class _TracedBatches(EngineMeter):
    def __init__(self, inner: EngineMeter, told: Callable[[BatchReading], None]) -> None:
        self._inner = inner
        self._told = told

    def waited(self, priority: Priority, seconds: float) -> None:
        self._inner.waited(priority, seconds)

    def batch(self, reading: BatchReading) -> None:
        self._inner.batch(reading)
        self._told(reading)

    def scored(self, scorer: str, score: float, truncated_tokens: int) -> None:
        self._inner.scored(scorer, score, truncated_tokens)

    def failed(self, scorer: str, code: str) -> None:
        self._inner.failed(scorer, code)

    def halved(self, *, out_of_memory: bool) -> None:
        self._inner.halved(out_of_memory=out_of_memory)

"""Spans tell where a request's time went, to a collector that speaks OTLP, and nothing of what it carried."""

import gzip
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.tracing import Tracing
from tests.loopback import Handler, serving
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput
from trainer.manifest import Artifact

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What a collector got, which is where the environment says."""
    bodies: list[bytes] = []

    class Collector(Handler):
        def post(self, body: bytes) -> None:
            bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.reply(200)

    with serving(Collector) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        yield bodies


def test_a_request_its_stages_and_its_batch_reach_the_collector(
    received: list[bytes], settings: Settings, publish: Callable[..., Artifact]
) -> None:
    publish(ArtifactStore(settings.artifact_dir), "mine", seed=1)
    app = create_app(settings.model_copy(update={"job_slots": 0, "tracing": True}))
    body = {"scorers": ["mine"], "items": [{"prompt": "product lamp", "response": "It is blue ."}]}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "asked-7"}
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/v1/scores", json=body, headers=headers).status_code == 200
        assert client.get("/v1/artifacts?secret=hunter2").status_code == 422
        client.get("/livez")

    requests = [trace_service.ExportTraceServiceRequest.FromString(each) for each in received]
    resources = [resource for request in requests for resource in request.resource_spans]
    assert {a.key: a.value.string_value for a in resources[0].resource.attributes}["service.name"] == "assay"
    spans = {span.name: span for each in resources for scope in each.scope_spans for span in scope.spans}
    assert set(spans) == {
        "GET /v1/artifacts",
        "POST /v1/scores",
        "assay.room",
        "assay.encode",
        "assay.score",
        "assay.batch",
    }
    request, batch = spans["POST /v1/scores"], spans["assay.batch"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    for name in ("assay.room", "assay.encode", "assay.score"):
        assert spans[name].parent_span_id == request.span_id
    named = {a.key: a.value for a in request.attributes}
    assert (named["assay.request_id"].string_value, named["http.route"].string_value) == ("asked-7", "/v1/scores")
    assert {a.key: a.value.int_value for a in batch.attributes}["assay.rows"] == 1
    assert request.start_time_unix_nano < batch.start_time_unix_nano < batch.end_time_unix_nano
    for told in received:
        assert b"hunter2" not in told
        assert b"lamp" not in told


def test_below_a_path_of_a_proxy_s_probes_and_static_files_are_not_traced_either(
    received: list[bytes], settings: Settings
) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 0, "tracing": True, "root_path": "/assay"}))
    with TestClient(app, base_url="http://localhost") as client:
        for before in ("", "/assay"):
            for path in ("/livez", "/readyz", "/metrics", "/static/nothing", "/v1/artifacts"):
                client.get(before + path)

    requests = [trace_service.ExportTraceServiceRequest.FromString(each) for each in received]
    spans = [span for each in requests for found in each.resource_spans for s in found.scope_spans for span in s.spans]
    assert [span.name for span in spans] == ["GET /v1/artifacts"] * 2


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InvalidInput, match=r"pip install 'reward-assay\[tracing\]'"):
        Tracing()

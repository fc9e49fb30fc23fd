"""A run's report over HTTP is the one that `assay report` writes, in a page that can ask the server for nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.cli import main
from service.settings import Settings


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings.model_copy(update={"job_slots": 0}))) as client:
        yield client


def test_the_report_is_the_one_that_the_command_writes(
    client: TestClient, measure: Callable[..., str], settings: Settings, tmp_path: Path
) -> None:
    run = measure({"helpful": {0.5: 0.6, 1.5: 0.2}})

    answer = client.get(f"/v1/stress-tests/{run}/report.html")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox allow-scripts" in answer.headers["content-security-policy"]
    output = tmp_path / "report.html"
    assert main(["report", run, "--output", str(output), "--database-url", settings.database_url]) == 0
    assert answer.text.count("helpful") == output.read_text().count("helpful") > 3


def test_a_run_that_has_measured_nothing_has_no_report(client: TestClient, add_job: Callable[..., str]) -> None:
    answer = client.get(f"/v1/stress-tests/{add_job(status='queued')}/report.html")
    assert answer.status_code == 422
    assert "has measured nothing yet: it is queued" in answer.json()["detail"]
    assert client.get("/v1/stress-tests/run_none/report.html").status_code == 404

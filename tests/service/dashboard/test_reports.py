"""A run's report over HTTP is the one that `assay report` writes, in a page that can ask the server for nothing."""

import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

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


def test_the_report_has_every_figure_of_the_run_s_page_and_no_other(
    client: TestClient, sample: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    temperatures = (0.5, 1.0, 1.5)
    scored = [
        {"prompt": prompt, "T": t, "scores": {"helpful": n + t}, "judge": n * t, "text": "some text " * n, "length": n}
        for prompt in "abc"
        for t in temperatures
        for n in range(3)
    ]
    statistics = ("pearson_within", "pearson_pooled", "pearson_within_partial_length")
    rows = [row("helpful", t, 0.6 - t / 5, statistic=each) for t in temperatures for each in statistics]
    rows += [row(name, t, t, statistic="mean", oracle=name) for t in temperatures for name in ("judge", "length")]
    run = sample(scored, rows)

    linked = re.findall(rf'"(/runs/{run}/figures/\w+\.json[^"]*)"', client.get(f"/runs/{run}").text)
    addresses = list(dict.fromkeys(linked))
    drawings = [each for address in addresses for each in client.get(unescape(address)).json()["drawings"]]
    report = client.get(f"/v1/stress-tests/{run}/report.html").text
    shown = re.findall(r'<script type="application/json">(.*?)</script>', report, flags=re.DOTALL)
    assert [json.loads(each) for each in shown] == [each["figure"] for each in drawings]
    assert len(drawings) >= 6, [each["name"] for each in drawings]

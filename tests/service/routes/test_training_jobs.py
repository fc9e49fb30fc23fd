"""Training jobs over HTTP: a recipe in, a job out, and everything one may ask about it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.db.pages import encode_cursor
from service.settings import Settings

JOBS = "/v1/training-jobs"
RECIPE = {"kind": "sft", "name": "my-policy", "steps": 3}

Wait = Callable[[TestClient, str], dict[str, Any]]


def submit(client: TestClient, **fields: Any) -> str:
    """The address of a new job."""
    response = client.post(JOBS, json={**RECIPE, **fields})
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


def refusal(client: TestClient, body: Any, **arguments: Any) -> tuple[int, str, list[Any]]:
    response = client.post(JOBS, json=body, **arguments)
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    return response.status_code, problem["detail"], [error.get("pointer") for error in problem["errors"]]


def test_a_recipe_is_queued_with_its_defaults_written_out(idle: TestClient) -> None:
    response = idle.post(JOBS, json={**RECIPE, "labels": {"team": "x"}})

    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"{JOBS}/{job['id']}"
    assert (job["kind"], job["name"], job["status"], job["queue_position"]) == ("sft", "my-policy", "queued", 1)
    assert job["recipe"]["seconds_per_step"] == 0.0
    assert job["labels"] == {"team": "x"}
    assert job["created_at"].endswith("Z")
    assert idle.get(response.headers["location"]).json() == job


def test_a_dry_run_validates_and_stores_nothing(idle: TestClient, settings: Settings) -> None:
    response = idle.post(f"{JOBS}?dry_run=true", json=RECIPE)

    assert response.status_code == 200
    assert response.json()["recipe"]["steps"] == 3
    assert len(response.json()["recipe_digest"]) == 64
    assert response.json()["report"]["unchecked"] == ["data, steps and memory of kind sft"]  # its recipes only count
    assert idle.get(JOBS).json() == {"data": [], "next": None}
    assert not settings.runs_dir.exists()
    assert refusal(idle, {**RECIPE, "steps": "many"}, params={"dry_run": True})[0] == 422


def test_the_same_idempotency_key_gives_the_same_job(idle: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first = idle.post(JOBS, json=RECIPE, headers=headers)
    again = idle.post(JOBS, json=RECIPE, headers=headers)

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    status, detail, _ = refusal(idle, {**RECIPE, "steps": 4}, headers=headers)
    assert status == 409
    assert "another recipe" in detail
    assert len(idle.get(JOBS).json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**RECIPE, "stepz": 3}, "/stepz"),
        ({**RECIPE, "name": "../../etc/passwd"}, "/name"),
        ({**RECIPE, "seed": -1}, "/seed"),
        ({**RECIPE, "kind": "alchemy"}, "/kind"),
        ({**RECIPE, "kind": "stress_test"}, "/kind"),
        ({**RECIPE, "kind": ["sft"]}, "/kind"),
        ({"name": "my-policy"}, "/kind"),
        ({**RECIPE, "labels": {"a": "\x00"}}, "/labels"),
        ({**RECIPE, "labels": {'"': "a"}}, "/labels"),
        ({**RECIPE, "launch": {"processes": 0}}, "/launch/processes"),
        ([RECIPE], ""),
        ("sft", ""),
        (None, ""),
    ],
)
def test_a_recipe_that_cannot_run_is_pointed_at_and_nothing_is_stored(
    idle: TestClient, settings: Settings, body: Any, pointer: str
) -> None:
    status, _, pointers = refusal(idle, body)

    assert (status, pointers) == (422, [pointer])
    assert idle.get(JOBS).json()["data"] == []
    assert not settings.runs_dir.exists()


@pytest.mark.parametrize("body", ['{"kind": "sft",', "kind: sft", "", '{"a": "\\ud83"}'])
def test_a_body_that_is_not_json_is_refused(idle: TestClient, body: str) -> None:
    response = idle.post(JOBS, content=body, headers={"content-type": "application/json"})

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [""]


def test_an_unwritable_runs_directory_stores_nothing(idle: TestClient, settings: Settings) -> None:
    settings.runs_dir.write_text("a file is in the way")

    status, detail, _ = refusal(idle, RECIPE)

    assert (status, detail.startswith("cannot write")) == (507, True)
    assert idle.get(JOBS).json()["data"] == []


def test_a_full_queue_asks_to_come_back(make_app: Callable[..., FastAPI]) -> None:
    with TestClient(make_app(max_queued_jobs=1)) as client:
        submit(client)
        response = client.post(JOBS, json=RECIPE)

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_lists_filter_and_page(idle: TestClient) -> None:
    paths = [submit(idle, labels={"number": str(i)}) for i in range(3)]
    idle.post(f"{paths[0]}/cancel")

    def found(query: str) -> list[str]:
        return [f"{JOBS}/{job['id']}" for job in idle.get(f"{JOBS}?{query}").json()["data"]]

    assert found("") == paths[::-1]
    assert found("status=cancelled") == [paths[0]]
    assert found("kind=ganpo") == []
    assert found("kind=ganpo&kind=sft&label=number=2") == [paths[2]]
    assert found("created_after=2100-01-01") == []
    assert found("created_before=2100-01-01T00:00:00Z&name=my-policy") == paths[::-1]
    first = idle.get(f"{JOBS}?limit=2").json()
    assert len(first["data"]) == 2
    assert found(f"limit=2&cursor={first['next']}") == [paths[0]]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "status=done", "kind=alchemy", "label=x", "cursor=x", "stat=failed",
     'label="=x', "created_after=soon", "created_before=9999-12-31T23:59:59-14:00",
     f"cursor={encode_cursor(5)}", f"cursor={encode_cursor(['9999-12-31T23:59:59-14:00', 'x'])}",
     "&".join(f"label=k{number}=v" for number in range(1100))],
)  # fmt: skip
def test_a_query_that_means_nothing_is_refused(idle: TestClient, query: str) -> None:
    response = idle.get(f"{JOBS}?{query}")

    assert response.status_code == 422
    assert query.split("=", maxsplit=1)[0] in response.text


@pytest.mark.parametrize("path", ["", "/cancel", "/resume", "/events", "/metrics", "/logs"])
@pytest.mark.parametrize("job_id", ["job_0", "%00", "..%2f..%2fetc", "x" * 300])
def test_a_job_that_does_not_exist_is_not_found(idle: TestClient, path: str, job_id: str) -> None:
    method = "POST" if path in {"/cancel", "/resume"} else "GET"

    response = idle.request(method, f"{JOBS}/{job_id}{path}")

    assert response.status_code == (422 if job_id == "%00" else 404)
    assert response.headers["content-type"] == "application/problem+json"


def test_a_stress_test_is_no_training_job(idle: TestClient) -> None:
    run = idle.post("/v1/stress-tests", json={**RECIPE, "kind": "stress_test"}).json()["id"]

    assert idle.get(f"{JOBS}/{run}").status_code == 404
    assert idle.get(JOBS).json()["data"] == []


def test_a_job_runs_and_tells_what_it_published(busy: TestClient, wait: Wait) -> None:
    path = submit(busy)

    job = wait(busy, path)

    assert (job["status"], job["error"], job["attempts"]) == ("succeeded", None, 1)
    assert job["artifacts"] == [{"name": "my-policy", "version": 1, "kind": "policy"}]
    assert job["progress"]["done"] == job["progress"]["total"] == 3
    [loss] = busy.get(f"{path}/metrics").json()["data"]
    assert (loss["stage"], loss["name"], loss["points"][:2]) == ("count", "loss", [[1, 1.0], [2, 0.5]])
    assert len(busy.get(f"{path}/metrics?max_points=2").json()["data"][0]["points"]) == 2
    assert busy.get(f"{path}/metrics?name=accuracy").json()["data"] == []
    assert "count 3/3" in busy.get(f"{path}/logs").text
    assert busy.get(f"{path}/logs?tail_bytes=5").text == busy.get(f"{path}/logs").text[-5:]


def test_events_come_in_pages(busy: TestClient, wait: Wait) -> None:
    path = submit(busy)
    wait(busy, path)

    events = busy.get(f"{path}/events").json()
    assert events["next"] is None
    sequence = [event["sequence"] for event in events["data"]]
    assert sequence == list(range(1, len(sequence) + 1))
    assert events["data"][0]["type"] == "started"
    assert events["data"][0]["data"] == {"attempt": 1}

    first = busy.get(f"{path}/events?limit=2").json()
    assert busy.get(f"{path}/events?limit=2&after={first['next']}").json()["data"] == events["data"][2:4]


def read_stream(client: TestClient, path: str, **headers: str) -> list[dict[str, str]]:
    """The events of a stream that has ended."""
    with client.stream("GET", path, headers={"accept": "text/event-stream", **headers}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        blocks = response.read().decode().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks if block]


def test_a_stream_follows_the_job_to_its_end_and_can_be_taken_up_again(busy: TestClient, wait: Wait) -> None:
    path = submit(busy, steps=4, seconds_per_step=0.2)

    events = read_stream(busy, f"{path}/events")  # begins before the job does

    assert [int(event["id"]) for event in events[:-1]] == list(range(1, len(events)))
    assert [event["event"] for event in events][-2:] == ["succeeded", "end"]
    assert events[-1]["data"] == '{"status": "succeeded"}'
    rest = read_stream(busy, f"{path}/events", **{"last-event-id": events[2]["id"]})
    assert rest == events[3:]
    # a browser comes back to the address it began with
    assert read_stream(busy, f"{path}/events?after=1", **{"last-event-id": events[2]["id"]}) == rest


def test_a_stream_ends_with_its_server_and_without_the_job(make_app: Callable[..., FastAPI]) -> None:
    app = make_app()
    with TestClient(app) as client:
        path = submit(client)
        threading.Timer(0.2, app.state.stopping.set).start()

        assert read_stream(client, f"{path}/events") == []


def test_a_stream_that_has_ended_tells_the_browser_not_to_come_back(busy: TestClient, wait: Wait) -> None:
    path = submit(busy)
    wait(busy, path)
    last = read_stream(busy, f"{path}/events")[-2]["id"]

    headers = {"accept": "text/event-stream", "last-event-id": last}
    assert busy.get(f"{path}/events", headers=headers).status_code == 204
    headers["last-event-id"] = "minus one"
    assert busy.get(f"{path}/events", headers=headers).status_code == 422


def test_cancel_and_resume(busy: TestClient, wait: Wait, held: Path) -> None:
    path = submit(busy, held_by=str(held))
    while busy.get(path).json()["progress"] is None:
        time.sleep(0.02)

    response = busy.post(f"{path}/cancel")

    assert (response.status_code, response.json()["cancel_requested"]) == (202, True)
    assert wait(busy, path)["status"] == "cancelled"
    assert busy.post(f"{path}/cancel").status_code == 409
    held.unlink()
    assert busy.post(f"{path}/resume").status_code == 202
    assert wait(busy, path)["result"]["started_from"] == 2
    assert busy.post(f"{path}/resume").status_code == 409


def test_a_stored_recipe_that_this_code_no_longer_understands_is_shown_but_not_resumed(
    idle: TestClient, settings: Settings, tmp_path: Path
) -> None:
    from sqlalchemy.orm import Session

    from service.db.session import writing
    from service.db.tables import Job

    path = submit(idle)
    idle.post(f"{path}/cancel")
    app = idle.app
    assert isinstance(app, FastAPI)
    with writing(app.state.sessions) as session:
        assert isinstance(session, Session)
        job = session.get_one(Job, path.rpartition("/")[2])
        job.recipe = {**job.recipe, "of_an_older_version": True}

    assert idle.get(path).json()["recipe"]["of_an_older_version"] is True
    assert idle.post(f"{path}/resume").status_code == 422
    assert idle.get(path).json()["status"] == "cancelled"

"""The application over a database of its own, with counting recipes in place of real ones."""

import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.db.records import TERMINAL
from service.jobs.executors import Executor
from service.settings import Settings

Wait = Callable[[TestClient, str], dict[str, Any]]


@pytest.fixture
def make_app(settings: Settings, counting_module: ModuleType, counting_executor: Executor) -> Callable[..., FastAPI]:
    """Makes the application; it runs jobs only if told how many at once."""

    def make(job_slots: int = 0, **changes: Any) -> FastAPI:
        changed = settings.model_copy(update={"job_slots": job_slots, **changes})
        return create_app(changed, parse_recipe=counting_module.parse, executor=counting_executor)

    return make


@pytest.fixture
def idle(make_app: Callable[..., FastAPI]) -> Iterator[TestClient]:
    """A server that accepts jobs and runs none."""
    with TestClient(make_app()) as client:
        yield client


@pytest.fixture
def busy(make_app: Callable[..., FastAPI]) -> Iterator[TestClient]:
    """A server that runs jobs."""
    with TestClient(make_app(job_slots=2)) as client:
        yield client


@pytest.fixture
def wait() -> Wait:
    """Waits until the job at an address has ended."""

    def until_ended(client: TestClient, path: str) -> dict[str, Any]:
        deadline = time.monotonic() + 300  # a busy machine is slow, not wrong
        while time.monotonic() < deadline:
            job: dict[str, Any] = client.get(path).json()
            if job["status"] in TERMINAL:
                return job
            time.sleep(0.02)
        raise TimeoutError(job)

    return until_ended

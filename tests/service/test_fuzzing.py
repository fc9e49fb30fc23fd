"""Requests made from the API's own description, valid and not: no 5xx, and no answer that breaks the description."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi import checks as conforming

from service.db.session import make_engine, sessions, writing
from service.db.tables import Job

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)

JOBS = {
    "training-jobs": "sft",
    "stress-tests": "stress_test",
    "audits": "audit",
    "win-rates": "win_rate",
    "benchmarks": "benchmark",
}
"""One of each kind exists, so that what is asked of a job is not always of none."""


@pytest.fixture(scope="module", params=["postgres", pytest.param("sqlite", marks=pytest.mark.slow)])
def server(
    request: pytest.FixtureRequest, start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Over PostgreSQL, which takes less: neither NUL nor numbers past 64 bits. The slow test asks both."""
    databases = request.getfixturevalue(f"{request.param}_databases")
    url = databases.migrated()
    server = start_server(tmp_path_factory.mktemp("fuzzed"), database_url=url)
    engine = make_engine(server.database_url)
    with writing(sessions(engine)) as session:
        session.add_all(
            Job(
                id=f"{kind}_1",
                kind=kind,
                name="j",
                status="failed",
                recipe={"kind": kind},
                recipe_digest="",
                labels={"a": "b"},
                executor="local",
                max_attempts=1,
                code_version="0",
                created_at=datetime(2030, 1, 1, tzinfo=UTC),
            )
            for kind in JOBS.values()
        )
    engine.dispose()
    yield server
    server.stop()
    databases.give_back(url)


@pytest.fixture(scope="module")
def operations(server: Any) -> list[Any]:
    document = httpx.get(f"{server.url}/openapi.json", headers=server.auth, timeout=300).json()
    found = schemathesis.openapi.from_dict(document)
    found.config.update(base_url=server.url)
    return [result.ok() for result in found.get_all_operations()]


CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    conforming.status_code_conformance,
    conforming.content_type_conformance,
    conforming.response_schema_conformance,
]


def ask(case: Any, server: Any) -> None:
    """Send the case as it is, and once more about a job that exists."""
    case.call_and_validate(checks=CHECKS, headers=server.auth, timeout=60)
    resource = case.path.split("/")[2] if case.path.count("/") > 2 else ""
    for name in ("job_id", "run"):
        if resource in JOBS and name in (case.path_parameters or {}):
            case.path_parameters[name] = f"{JOBS[resource]}_1"
            case.call_and_validate(checks=CHECKS, headers=server.auth, timeout=60)


def fuzz(operations: list[Any], server: Any, **how: Any) -> None:
    """Ask everything in valid and invalid ways; what fails is told once for each operation."""
    failures = []
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES, **how)
            @given(case=operation.as_strategy(generation_mode=mode))
            def requests(case: Any) -> None:
                ask(case, server)

            try:
                requests()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, f"{operation.label}: nothing valid can be sent"
            except (Exception, BaseExceptionGroup) as error:
                failures.append(f"{operation.label}, {mode.value}: {error!r} {getattr(error, '__notes__', '')}")
    assert len(operations) > 30
    assert not failures, "\n\n".join(failures)


def test_no_request_breaks_the_api(operations: list[Any], server: Any) -> None:
    fuzz(operations, server, max_examples=6, derandomize=True)


@pytest.mark.slow
def test_no_request_of_many_breaks_the_api(operations: list[Any], server: Any) -> None:
    fuzz(operations, server, max_examples=200)

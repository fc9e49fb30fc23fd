"""Requests made from the API's own description, valid and not: no 5xx, and no answer that breaks the description."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi import checks as conforming

from service.db.session import make_engine, sessions
from tests.service import good_requests
from tests.service.good_requests import Request, addressed

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)

SCORING = {"scoring", "compatible"}

NOTHING_TO_REPORT = {f"GET /v1/{kind}/{{run_id}}/report.html" for kind in ("audits", "win-rates", "benchmarks")}
"""Of these kinds there is no run that found something; their reports are made as that of a stress test is."""


@pytest.fixture(scope="module", params=["postgres", pytest.param("sqlite", marks=pytest.mark.slow)])
def server(
    request: pytest.FixtureRequest,
    start_server: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Over PostgreSQL, which takes less: neither NUL nor numbers past 64 bits. The slow test asks both."""
    databases = request.getfixturevalue(f"{request.param}_databases")
    url = databases.migrated()
    directory = tmp_path_factory.mktemp("fuzzed")
    artifacts = directory / "artifacts"
    server = start_server(
        directory,
        program=good_requests.PROGRAM,
        database_url=url,
        ASSAY_ALLOWED_ROOTS=str(artifacts),
        ASSAY_COMPAT_SCORER="judge",
        OMP_NUM_THREADS="1",
    )
    engine = make_engine(server.database_url)
    good_requests.store_jobs(sessions(engine), directory / "run", good_requests.recipes(artifacts))
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


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, server: Any) -> dict[str, Request]:
    """By operation, as it is labelled."""
    return {**good_requests.compatible_requests(), **good_requests.own_requests(server.directory / "artifacts")}


CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    conforming.status_code_conformance,
    conforming.content_type_conformance,
    conforming.response_schema_conformance,
]


def send(case: Any, server: Any) -> Any:
    """What is answered, which is as it is described."""
    return case.call_and_validate(checks=CHECKS, headers=server.auth, timeout=60)


def test_every_operation_succeeds_in_the_form_that_is_described(
    operations: list[Any], server: Any, good: dict[str, Request]
) -> None:
    assert {operation.label for operation in operations} >= good.keys() | NOTHING_TO_REPORT
    failed: dict[str, Any] = {}
    # what is removed is made before, and a job is queued again before it is cancelled
    for operation in sorted(operations, key=lambda each: (each.method == "delete", "cancel" in each.path)):
        where = {"path_parameters": addressed(operation.method.upper(), operation.path)}
        case = operation.Case(**{**where, **good.get(operation.label, {})})
        try:
            answer = send(case, server)
        except BaseExceptionGroup as error:
            failed[operation.label] = error.exceptions
        else:
            if (answer.status_code < 300) == (operation.label in NOTHING_TO_REPORT):
                failed[operation.label] = answer.text
    assert not failed


def ask(case: Any, server: Any, good: dict[str, Request], seen: Counter[tuple[str, int]]) -> None:
    """Send the case as it is, and again about what exists: with its options, around texts that can be scored."""
    label = case.operation.label
    seen[label, send(case, server).status_code] += 1
    where = addressed(case.method, case.operation.path)
    known = isinstance(case.path_parameters, dict) and bool(where)
    if known:
        case.path_parameters.update(where)
    if label in good and isinstance(case.body, dict):
        case.body = {**options(case.body), **good[label]["body"]}
        if isinstance(case.query, dict) and "scorer" in case.query:
            case.query["scorer"] = good_requests.DISCRIMINATOR
        known = True
    if known:
        seen[label, send(case, server).status_code] += 1


def options(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that are no texts."""
    return {name: value for name, value in body.items() if value is None or isinstance(value, bool | int | float)}


def fuzz(operations: list[Any], server: Any, good: dict[str, Request], **how: Any) -> None:
    """Ask everything in valid and invalid ways; what fails is told once for each operation."""
    failures = []
    tags = {operation.label: set(operation.tags) for operation in operations}
    seen = Counter[tuple[str, int]]()
    scoring = {label: request for label, request in good.items() if tags.get(label, set()) & SCORING}
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES, **how)
            @given(case=operation.as_strategy(generation_mode=mode))
            def requests(case: Any) -> None:
                ask(case, server, scoring, seen)

            try:
                requests()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, f"{operation.label}: nothing valid can be sent"
            except (Exception, BaseExceptionGroup) as error:
                failures.append(f"{operation.label}, {mode.value}: {error!r} {getattr(error, '__notes__', '')}")
    assert len(operations) > 30
    assert not failures, "\n\n".join(failures)
    assert len(scoring) > 12
    assert not [label for label in scoring if not seen[label, 200]], seen


def without_twins(operations: list[Any]) -> list[Any]:
    """Each route once: formats of other servers have several addresses, and the routes of a job are those of any."""
    paths = {operation.path for operation in operations}
    once = {}
    for operation in operations:
        short = re.sub("^/compat/[a-z]+", "", operation.path)
        if short == operation.path or short not in paths:
            once[operation.method, re.sub("^/v1/[a-z-]+/{job_id}/", "", operation.path)] = operation
    return list(once.values())


@pytest.fixture(scope="module")
def distinct(operations: list[Any]) -> list[Any]:
    chosen = without_twins(operations)
    assert 50 < len(chosen) < len(operations) - 20
    return chosen


def test_no_request_breaks_the_api(distinct: list[Any], server: Any, good: dict[str, Request]) -> None:
    fuzz(distinct, server, good, max_examples=6, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_no_request_of_many_breaks_the_api(distinct: list[Any], server: Any, good: dict[str, Request]) -> None:
    fuzz(distinct, server, good, max_examples=80)

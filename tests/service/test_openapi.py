"""The description at /openapi.json is the truth: recipes as bodies, problems as errors, no loose ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path: Path = tmp_path_factory.mktemp("openapi") / "assay.db"
    return create_app(Settings(database_url=f"sqlite:///{path}")).openapi()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))

    assert len(references) > 20
    assert references <= document["components"]["schemas"].keys()


def test_bodies_are_the_recipes_themselves(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = {
        path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for path in ("/v1/training-jobs", "/v1/stress-tests", "/v1/win-rates", "/v1/benchmarks")
    }

    assert bodies == {
        "/v1/training-jobs": "#/components/schemas/TrainingRecipe",
        "/v1/stress-tests": "#/components/schemas/StressTestRecipe",
        "/v1/win-rates": "#/components/schemas/WinRateRecipe",
        "/v1/benchmarks": "#/components/schemas/AnyBenchmarkRecipe",
    }
    assert {"sft", "ganpo", "reward_model"} <= schemas["TrainingRecipe"]["discriminator"]["mapping"].keys()
    assert schemas["StressTestRecipe"]["additionalProperties"] is False
    assert "temperatures" in schemas["StressTestRecipe"]["properties"]


def test_every_route_answers_problems(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]

    assert len(operations) > 20
    compatible = [operation for operation in operations if operation.get("tags") == ["compatible"]]
    assert len(compatible) > 15
    for operation in operations:
        # other servers' formats bring their own form of failures
        form = "application/json" if operation in compatible else "application/problem+json"
        assert operation["responses"]["default"]["content"].keys() == {form}
        assert "422" not in operation["responses"]


def test_other_servers_formats_are_described_to_the_type(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if operation.get("tags") == ["compatible"]:
                body = operation["requestBody"]["content"]["application/json"]["schema"]
                answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
                failure = operation["responses"]["default"]["content"]["application/json"]["schema"]
                assert body.keys() & {"$ref", "oneOf"}, path
                assert answer.keys() & {"$ref", "anyOf", "items"} or answer["type"] == "number", path
                assert failure.keys() & {"$ref", "anyOf"}, path


def test_times_may_be_missing_but_are_described(document: dict[str, Any]) -> None:
    job = document["components"]["schemas"]["JobRecord"]["properties"]

    assert job["created_at"]["format"] == "date-time"
    assert job["queue_position"]["description"].startswith("1 is next")

"""The API's description: bodies are the recipes themselves, errors are problems."""

from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from service.imports import heavy_imports
from service.problems import Problem

_TEMPLATE = "#/components/schemas/{model}"


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of ``app``. The first call imports the recipes, and torch with them."""
    if app.openapi_schema is None:
        app.openapi_schema = _describe(app)
    return app.openapi_schema


def _describe(app: FastAPI) -> dict[str, Any]:
    with heavy_imports():
        from evaluation.recipes.benchmark import BenchmarkRecipe
        from evaluation.recipes.downstream import DownstreamRecipe
        from evaluation.recipes.stress_test import StressTestRecipe
        from evaluation.recipes.win_rate import WinRateRecipe
        from trainer.recipes import AnyTrainingRecipe

    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = document["components"]["schemas"]
    _, problem = models_json_schema([(Problem, "serialization")], ref_template=_TEMPLATE)
    schemas.update(problem["$defs"])
    benchmarks = Annotated[BenchmarkRecipe | DownstreamRecipe, Field(discriminator="kind")]
    bodies: tuple[tuple[str, str, TypeAdapter[Any]], ...] = (
        ("/v1/training-jobs", "TrainingRecipe", TypeAdapter(AnyTrainingRecipe)),
        ("/v1/stress-tests", "StressTestRecipe", TypeAdapter(StressTestRecipe)),
        ("/v1/win-rates", "WinRateRecipe", TypeAdapter(WinRateRecipe)),
        ("/v1/benchmarks", "AnyBenchmarkRecipe", TypeAdapter(benchmarks)),
    )
    for path, name, recipe in bodies:
        schema = recipe.json_schema(ref_template=_TEMPLATE)
        for defined, definition in schema.pop("$defs", {}).items():
            schemas.setdefault(defined, definition)
        schemas[name] = schema
        body = document["paths"][path]["post"]["requestBody"]
        body["content"]["application/json"]["schema"] = {"$ref": _TEMPLATE.format(model=name)}
    # every route answers 422 as a problem; FastAPI's own form of it is never sent
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document

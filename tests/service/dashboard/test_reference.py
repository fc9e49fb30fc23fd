"""The reference says of every operation what it takes and what it answers, without anything from the network."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.access import Identify
from service.dashboard import pages
from service.dashboard.reference import Word, operations, schemas, type_words
from service.routes import artifacts, scores, stress_tests


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI(docs_url=None)
    app.state.owner = True
    app.add_middleware(Identify)
    for resource in (pages, scores, artifacts, stress_tests):
        app.include_router(resource.router)
    return app


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"$ref": "#/components/schemas/Score"}, "Score"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Score"}}, "list of Score"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number or null"),
        ({"enum": ["error", "truncate_prompt"]}, "error | truncate_prompt"),
        ({"const": "alive"}, "alive"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        ({}, "any JSON"),
    ],
)
def test_a_type_is_said_as_a_reader_would(schema: dict[str, object], said: str) -> None:
    assert "".join(word.text for word in type_words(schema)) == said


def test_operations_are_grouped_and_name_their_schemas(app: FastAPI) -> None:
    found = operations(app.openapi())

    (post,) = found["scoring"]
    assert (post.method, post.path) == ("POST", "/v1/scores")
    assert post.body == [Word("ScoreRequest", "ScoreRequest")]
    assert post.answer == [Word("ScoreAnswer", "ScoreAnswer")]
    assert {operation.method for operation in found["artifacts"]} == {"GET", "POST", "DELETE"}
    listing = next(each for each in found["artifacts"] if (each.method, each.path) == ("GET", "/v1/artifacts"))
    limit = next(field for field in listing.parameters if field.name == "limit")
    assert (limit.required, limit.default) == (False, "100")


@pytest.mark.parametrize(
    ("summary", "description", "said"),
    [
        ("Read an artifact", "Its own account.", "Read an artifact"),
        ("Get Audit", "One audit; its result holds it. And more.", "One audit; its result holds it"),
        ("Livez", "", "Livez"),
    ],
)
def test_an_operation_without_a_summary_is_told_by_its_first_sentence(
    summary: str, description: str, said: str
) -> None:
    told = {"summary": summary, "description": description, "responses": {}}
    ((operation,),) = operations({"paths": {"/x": {"get": told}}}).values()

    assert operation.summary == said


def test_a_schema_tells_its_fields_in_the_words_of_the_code(app: FastAPI) -> None:
    request = next(schema for schema in schemas(app.openapi()) if schema.name == "ScoreRequest")

    assert [(field.name, field.required) for field in request.fields] == [
        ("scorers", True),
        ("items", True),
        ("on_overlong", False),
        ("priority", False),
    ]
    assert "GET /v1/scorers lists them" in request.fields[0].description


def test_every_schema_that_is_named_is_on_the_page(app: FastAPI) -> None:
    with TestClient(app) as browser:
        page = browser.get("/docs").text

    named = set(re.findall(r'href="#(schema-\w+)"', page)) - {"schema-Problem"}  # which the whole server declares
    assert "schema-ScoreRequest" in named
    assert named <= set(re.findall(r'id="([^"]+)"', page))
    assert "<code>items[i].scores[j][scorer]</code>" in page
    assert re.search(r'<span class="what">[^<]+ with <code>Accept: text/event-stream</code>', page)
    assert "cdn" not in page

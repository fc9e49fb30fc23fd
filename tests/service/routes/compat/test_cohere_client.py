"""Cohere's own client, of either version of its API, over a real connection: the answers and the errors it knows."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

cohere = pytest.importorskip(
    "cohere", reason="Cohere's client is not installed: pip install -c constraints.txt '.[dev]'"
)

PROMPT = "product lamp | color red"
RED, BLUE = "the lamp is red .", "the lamp is blue ."


@pytest.fixture(params=["", "/compat/cohere"], ids=["at the original's address", "below /compat"])
def address(serve: Callable[[Any], str], client: TestClient, request: pytest.FixtureRequest) -> str:
    """What the client is told to be Cohere's."""
    return f"{serve(client.app)}{request.param}"


@pytest.fixture
def how(address: str) -> Iterator[dict[str, Any]]:
    """What either client is made with; its connections are closed afterwards."""
    with httpx.Client(timeout=60) as http:
        yield {"api_key": "k", "base_url": address, "httpx_client": http}


@pytest.fixture
def expected(client: TestClient) -> list[float]:
    """Probabilities of the red lamp and the blue one."""
    body = {"scorers": ["judge"], "items": [{"prompt": PROMPT, "responses": [RED, BLUE]}]}
    cells = client.post("/v1/scores", json=body).json()["items"][0]["scores"]
    return [cell["judge"]["probability"] for cell in cells]


def test_version_two_ranks_the_best_first(how: dict[str, Any], expected: list[float]) -> None:
    answer = cohere.ClientV2(**how).rerank(model="judge", query=PROMPT, documents=[RED, BLUE])

    assert expected[1] > expected[0]
    assert [(each.index, each.relevance_score) for each in answer.results] == [
        (1, pytest.approx(expected[1], abs=1e-4)),
        (0, pytest.approx(expected[0], abs=1e-4)),
    ]
    assert answer.id
    assert answer.meta.api_version.version == "2"


def test_version_one_takes_documents_as_objects_and_returns_their_texts(
    how: dict[str, Any], expected: list[float]
) -> None:
    answer = cohere.Client(**how).rerank(
        model="judge", query=PROMPT, documents=[RED, {"text": BLUE}], top_n=1, return_documents=True
    )

    assert [(each.index, each.document.text) for each in answer.results] == [(1, BLUE)]
    assert answer.results[0].relevance_score == pytest.approx(expected[1], abs=1e-4)
    assert answer.meta.api_version.version == "1"


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"model": "rerank-v3.5"}, "NotFoundError", "no artifact rerank-v3.5"),
        ({"documents": []}, "BadRequestError", "documents: List should have at least 1 item"),
        ({"query": " "}, "BadRequestError", "the prompt is empty"),
        ({"top_n": 0}, "BadRequestError", "top_n: Input should be greater than or equal to 1"),
    ],
    ids=["unknown model", "no documents", "blank query", "none wanted"],
)
def test_errors_are_those_that_the_client_raises(
    how: dict[str, Any], changes: dict[str, Any], error: str, says: str
) -> None:
    asked = {"model": "judge", "query": PROMPT, "documents": [RED], **changes}

    with pytest.raises(getattr(cohere, error)) as raised:
        cohere.ClientV2(**how).rerank(**asked)
    assert says in raised.value.body["message"]

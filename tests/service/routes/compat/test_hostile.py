"""Whatever is sent, a client's mistake is answered 4xx in the words of the server that the client knows."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

SHAPES: dict[str, set[str]] = {
    "/get_reward": {"error"},
    "/remote_rm": {"error"},
    "/classify": {"error"},
    "/pooling": {"error"},
    "/score": {"error"},
    "/predict": {"error", "error_type"},
    "/compat/tei/rerank": {"error", "error_type"},
    "/rerank": {"message", "detail"},
    "/v1/rerank": {"message", "detail"},
}
NAMED: dict[str, set[str]] = {
    "openrlhf": {"error"},
    "vllm": {"error"},
    "slime": {"error"},
    "tei": {"error", "error_type"},
    "cohere": {"message", "detail"},
}
NO_BODY = {
    "nothing": b"",
    "no json": b"{",
    "no utf-8": b'"\xff"',
    "deep": b"[" * 200_000,
    "many digits": b'{"query": ' + b"9" * 5000 + b"}",
    "a list": b"[]",
    "a number": b"1e400",
    "empty": b"{}",
}
TEXTS: dict[str, Any] = {
    "half a surrogate pair": "\ud800",
    "blank": " \t",
    "too long": "a" * 1_000_001,
    "a number": 3,
    "nothing": None,
    "an object": {"text": ["x"]},
}


def bodies(prompt: Any, response: Any) -> dict[str, Any]:
    """The same pair in every format."""
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return {
        "/get_reward": {
            "query": [f"{prompt}{response}" if isinstance(response, str) else response],
            "prompts": [prompt],
        },
        "/remote_rm": {"prompt": prompt, "response": response},
        "/classify": {"messages": messages},
        "/pooling": {"messages": messages},
        "/score": {"queries": prompt, "documents": [response]},
        "/predict": {"inputs": [[prompt, response]]},
        "/compat/tei/rerank": {"query": prompt, "texts": [response]},
        "/rerank": {"query": prompt, "documents": [response]},
        "/v1/rerank": {"query": prompt, "documents": [response]},
    }


def refused(client: TestClient, address: str, content: bytes) -> Response:
    answer = client.post(address, content=content, headers={"content-type": "application/json"})
    shape = SHAPES[address.partition("?")[0]]

    assert 400 <= answer.status_code < 500, answer.text
    assert answer.status_code != 429
    assert answer.json().keys() == shape
    if isinstance(answer.json().get("error"), dict):
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert answer.json()["error"]["code"] == answer.status_code
    return answer


@pytest.mark.parametrize("address", SHAPES)
@pytest.mark.parametrize("content", NO_BODY.values(), ids=list(NO_BODY))
def test_no_body_that_is_none(client: TestClient, address: str, content: bytes) -> None:
    refused(client, address, content)


@pytest.mark.parametrize("address", SHAPES)
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_no_text_that_is_none(client: TestClient, address: str, text: Any) -> None:
    refused(client, address, json.dumps(bodies("product lamp", text)[address]).encode())
    if address != "/get_reward" or text is not None:
        refused(client, address, json.dumps(bodies(text, "red")[address]).encode())


@pytest.mark.parametrize("address", SHAPES)
def test_no_scorer_that_is_a_path_or_nothing(client: TestClient, address: str) -> None:
    body = json.dumps(bodies("product lamp", "red")[address]).encode()

    for name in ("../../etc/passwd", "%00", "a" * 301, "judge@9", "judge:nothing", ":", "/etc/passwd", "judge@"):
        refused(client, f"{address}?scorer={name}", body)
    refused(client, f"{address}?on_overlong=anything", body)


@pytest.mark.parametrize(
    ("address", "shape"),
    [
        *SHAPES.items(),
        *((f"/compat/{name}", shape) for name, shape in NAMED.items()),
        *((f"/compat/{name}/v1/nothing/here", shape) for name, shape in NAMED.items()),
    ],
)
def test_where_there_is_no_route_that_is_said_in_the_same_words(
    client: TestClient, address: str, shape: set[str]
) -> None:
    answer = client.get(address)

    assert answer.json().keys() == shape
    assert answer.status_code == (405 if address in SHAPES else 404)
    assert answer.headers.get("allow") == ("POST" if address in SHAPES else None)
    assert f"GET {address}: " in answer.text


def test_vllm_names_what_it_was(client: TestClient) -> None:
    assert client.get("/compat/vllm/health").json() == {
        "error": {
            "message": "GET /compat/vllm/health: not found; /docs lists the routes",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        }
    }


def test_elsewhere_a_problem_stays_a_problem(client: TestClient) -> None:
    for address in ("/compat", "/compat/", "/compat/nobody/x", "/compatible/vllm/x", "/nothing"):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), address


@pytest.mark.parametrize("address", SHAPES)
def test_not_more_pairs_than_one_request_may_have(client: TestClient, address: str) -> None:
    body = bodies("product lamp", "red")[address]
    many = {
        "/get_reward": {"query": ["a b"] * 1025, "prompts": ["a"] * 1025},
        "/classify": {"input": ["a"] * 1025},
        "/pooling": {"input": ["a"] * 1025},
        "/score": {"queries": "a", "documents": ["b"] * 1025},
        "/predict": {"inputs": [["a", "b"]] * 1025},
        "/compat/tei/rerank": {"query": "a", "texts": ["b"] * 1025},
        "/rerank": {"query": "a", "documents": ["b"] * 1025},
        "/v1/rerank": {"query": "a", "documents": ["b"] * 1025},
    }.get(address)
    if many is not None:
        answer = refused(client, address, json.dumps(many).encode())
        assert (answer.status_code == 413) == ("error_type" in SHAPES[address])
    assert client.post(address, json=body).status_code == 200


@pytest.mark.parametrize(("responses", "words"), [("texts", "error_type"), ("documents", "message")])
def test_a_body_without_its_type_is_refused_in_the_words_of_whose_it_is(
    client: TestClient, responses: str, words: str
) -> None:
    body = json.dumps({"query": "a", responses: ["b"]})
    answer = client.post("/rerank", content=body, headers={"content-type": "text/plain"})

    assert answer.status_code in {400, 422}
    assert words in answer.json()


def test_who_takes_html_as_well_is_answered_as_everybody(idle: TestClient) -> None:
    """Java's own client begins what it accepts with text/html, for which the server has pages."""
    for address in (*SHAPES, "/compat/tei/nothing"):
        accepted = ("*/*", "text/html, */*; q=.2")
        usual, java = (idle.post(address, json=[3], headers={"accept": each}) for each in accepted)
        assert java.headers["content-type"] == "application/json"
        assert (java.status_code, java.json()) == (usual.status_code, usual.json())


def test_html_in_a_response_comes_back_as_json_only(client: TestClient) -> None:
    text = "<script>alert(1)</script>"
    answer = client.post("/rerank", json={"query": "a", "texts": [text], "return_text": True})

    assert answer.json()[0]["text"] == text
    assert answer.headers["content-type"] == "application/json"

"""POST /v1/scores answers every cell for itself, in the request's order."""

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from evaluation.engine.scoring import ScoringEngine
from evaluation.engine.terms import INTERACTIVE, OFFLINE, TRAINER, Terms
from trainer.artifacts import ArtifactStore
from trainer.errors import Conflict
from trainer.manifest import Artifact
from trainer.models import loading

ClientOf = Callable[[ArtifactStore], TestClient]
Publish = Callable[..., Artifact]


def post(client: TestClient, body: dict[str, Any]) -> Any:
    # escaped as ASCII, the only way to send half a surrogate pair
    return client.post("/v1/scores", content=json.dumps(body), headers={"content-type": "application/json"})


def scored(client: TestClient, items: list[dict[str, Any]], scorers: tuple[str, ...] = ("tiny",), **more: Any) -> Any:
    answer = post(client, {"scorers": list(scorers), "items": items, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_response_of_every_item_is_scored_by_every_scorer_in_the_order_asked(scoring_client: TestClient) -> None:
    answer = scored(
        scoring_client,
        [
            {"id": "b", "prompt": "product lamp", "responses": ["The lamp is red .", "It is blue ."]},
            {"id": 7, "prompt": [{"role": "user", "content": "product lamp"}], "response": "It is blue ."},
        ],
        ("family/other", "tiny@1", "tiny"),
    )

    assert [(s["scorer"], s["name"], s["version"]) for s in answer["scorers"]] == [
        ("family/other", "family/other", 1),
        ("tiny@1", "tiny", 1),
        ("tiny", "tiny", 2),
    ]
    assert {s["kind"] for s in answer["scorers"]} == {"reward_model"}
    assert {s["orientation"] for s in answer["scorers"]} == {"higher_is_better"}
    assert {s["template_hash"] for s in answer["scorers"]} == {"two-segments"}
    assert [item["id"] for item in answer["items"]] == ["b", 7]
    assert [len(item["scores"]) for item in answer["items"]] == [2, 1]
    assert list(answer["items"][0]["scores"][0]) == ["family/other", "tiny@1", "tiny"]
    # one user message is the same prompt as its text
    assert answer["items"][1]["scores"][0] == answer["items"][0]["scores"][1]


def test_a_cell_says_score_probability_and_tokens(scoring_client: TestClient) -> None:
    (cell,) = scored(scoring_client, [{"prompt": "product lamp", "response": "It is blue ."}])["items"][0]["scores"]

    # <cls> product lamp <sep> It is blue . <sep> are 9 tokens; tiny@2 was calibrated at temperature 2
    assert cell["tiny"]["tokens"] == 9
    assert cell["tiny"]["truncated_tokens"] == 0
    assert cell["tiny"]["probability"] == pytest.approx(1 / (1 + math.exp(-cell["tiny"]["score"] / 2)))


def test_a_score_does_not_depend_on_what_else_is_asked(scoring_client: TestClient) -> None:
    alone = scored(scoring_client, [{"prompt": "product lamp", "response": "It is blue ."}])
    items = [{"prompt": "product lamp " * n, "response": "It is blue . " * n} for n in range(1, 8)]
    together = scored(scoring_client, items[::-1])

    one = alone["items"][0]["scores"][0]["tiny"]["score"]
    assert together["items"][-1]["scores"][0]["tiny"]["score"] == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize(
    ("response", "code", "words"),
    [
        ("", "invalid_input", "the response is empty"),
        (" \n", "invalid_input", "the response is empty"),
        ("half a \ud83d pair", "invalid_input", "half a surrogate pair at character 7"),
        ("red " * 60, "overlong_input", "tokens exceed the model's 48"),
        ("x" * 1_000_001, "invalid_input", "1000001 characters"),
    ],
    ids=["empty", "blank", "surrogate", "overlong", "endless"],
)
def test_a_bad_response_fails_alone(scoring_client: TestClient, response: str, code: str, words: str) -> None:
    items = [
        {"id": "bad", "prompt": "product lamp", "responses": ["It is blue .", response]},
        {"id": "good", "prompt": "product lamp", "response": "It is blue ."},
    ]
    answer = scored(scoring_client, items, ("tiny", "tiny@1"))

    good, bad = answer["items"][0]["scores"]
    assert good == answer["items"][1]["scores"][0]
    for cell in bad.values():
        assert set(cell) == {"error"}
        assert cell["error"]["code"] == code
        assert words in cell["error"]["detail"]


@pytest.mark.parametrize("prompt", ["", "  ", [], [{"role": "user", "content": ""}], "\udc00"], ids=repr)
def test_a_bad_prompt_fails_its_item_alone(scoring_client: TestClient, prompt: object) -> None:
    items = [
        {"prompt": prompt, "responses": ["It is blue .", "It is red ."]},
        {"prompt": "product lamp", "response": "It is blue ."},
    ]
    bad, good = scored(scoring_client, items)["items"]

    assert [cell["tiny"]["error"]["code"] for cell in bad["scores"]] == ["invalid_input", "invalid_input"]
    assert "score" in good["scores"][0]["tiny"]


def test_a_nul_character_is_text_like_any_other(scoring_client: TestClient) -> None:
    (cell,) = scored(scoring_client, [{"prompt": "product\0lamp", "response": "a\0b"}])["items"][0]["scores"]

    assert math.isfinite(cell["tiny"]["score"])


def test_an_overlong_prompt_is_truncated_where_that_was_allowed(scoring_client: TestClient) -> None:
    items = [{"prompt": "lamp " * 60, "response": "It is blue ."}]
    (cell,) = scored(scoring_client, items, on_overlong="truncate_prompt")["items"][0]["scores"]

    # <cls>, 60 times lamp, <sep>, 4 words and <sep> are 67 tokens for a window of 48
    assert cell["tiny"]["truncated_tokens"] == 19
    assert cell["tiny"]["tokens"] == 48


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scorers": ["tiny"], "items": []}, "/items"),
        ({"scorers": [], "items": [{"prompt": "p", "response": "r"}]}, "/scorers"),
        ({"scorers": ["tiny"], "items": [{"prompt": "p"}]}, "/items/0"),
        ({"scorers": ["tiny"], "items": [{"prompt": "p", "response": "r", "responses": ["r"]}]}, "/items/0"),
        ({"scorers": ["tiny"], "items": [{"prompt": "p", "responses": []}]}, "/items/0/responses"),
        ({"scorers": ["tiny"], "items": [{"response": "r"}]}, "/items/0/prompt"),
        ({"scorers": ["tiny"], "items": [{"prompt": "p", "response": "r", "weight": 1}]}, "/items/0/weight"),
        ({"scorers": ["tiny"], "items": [{"prompt": "p", "response": "r"}], "on_overlong": "cut"}, "/on_overlong"),
        ({"scorers": ["tiny", "tiny"], "items": [{"prompt": "p", "response": "r"}]}, ""),
        ({"scorers": ["tiny\udc00"], "items": [{"prompt": "p", "response": "r"}]}, "/scorers/0"),
        ({"scorers": ["tiny"], "items": [{"id": "\udc00", "prompt": "p", "response": "r"}]}, "/items/0/id"),
        (
            {"scorers": ["tiny"], "items": [{"prompt": [{"role": "a role", "content": "p"}], "response": "r"}]},
            "/items/0/prompt/0/role",
        ),
        ({"scorers": ["tiny"], "items": [{"prompt": 7, "response": "r"}]}, "/items/0/prompt"),
        ({"scorers": ["tiny"], "items": [{"prompt": "p", "responses": ["r"] * 200}] * 30}, ""),
    ],
)
def test_a_malformed_request_is_refused_as_a_whole_and_says_where(
    scoring_client: TestClient, body: dict[str, Any], pointer: str
) -> None:
    answer = post(scoring_client, body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["pointer"] for error in answer.json()["errors"]} == {pointer}


@pytest.mark.parametrize(
    ("scorer", "status"), [("nobody", 404), ("tiny@9", 404), ("tiny:loudness", 422), ("../tiny", 422), ("tiny@x", 404)]
)
def test_a_scorer_that_does_not_exist_fails_the_request_and_is_pointed_at(
    scoring_client: TestClient, scorer: str, status: int
) -> None:
    items = [{"prompt": "product lamp", "response": "It is blue ."}]
    answer = post(scoring_client, {"scorers": ["tiny", scorer], "items": items})

    assert answer.status_code == status
    assert answer.json()["errors"][0]["pointer"] == "/scorers/1"


def corrupt(artifact: Artifact) -> None:
    weights = artifact.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")


def test_a_broken_scorer_answers_as_broken_beside_those_that_work(
    tmp_path: Path, publish: Publish, client_of: ClientOf
) -> None:
    store = ArtifactStore(tmp_path)
    publish(store, "champion", seed=1)
    corrupt(publish(store, "challenger", seed=2))
    client = client_of(store)
    items = [{"prompt": "product lamp", "response": "It is blue ."}]

    answer = scored(client, items, ("challenger", "champion"))

    assert answer["scorers"][0]["error"]["code"] == "broken_artifact"
    assert answer["scorers"][1]["version"] == 1
    (cell,) = answer["items"][0]["scores"]
    assert cell["challenger"]["error"]["code"] == "broken_artifact"
    assert math.isfinite(cell["champion"]["score"])
    alone = post(client, {"scorers": ["challenger"], "items": items})
    assert (alone.status_code, alone.json()["code"]) == (409, "broken_artifact")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (OSError(errno.EIO, "Input/output error"), 507, "storage_failure"),
        (torch.OutOfMemoryError("no"), 507, "out_of_memory"),
        (Conflict("8-bit versions score on a CPU only"), 409, "conflict"),
        (KeyError("pooling"), 500, "run_failed"),
    ],
    ids=["a disk that fails", "no memory", "another device", "a surprise"],
)
def test_a_scorer_that_cannot_be_loaded_fails_alone(
    tmp_path: Path,
    publish: Publish,
    client_of: ClientOf,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    status: int,
    code: str,
) -> None:
    store = ArtifactStore(tmp_path)
    publish(store, "champion", seed=1)
    publish(store, "challenger", seed=2)
    whole = loading.read_pair_model

    def failing(artifact: Artifact, *more: Any) -> Any:
        if artifact.name == "challenger":
            raise failure
        return whole(artifact, *more)

    monkeypatch.setattr(loading, "read_pair_model", failing)
    client = client_of(store)
    items = [{"prompt": "product lamp", "responses": ["It is blue .", "It is red ."]}]

    answer = scored(client, items, ("champion", "challenger"))
    assert answer["scorers"][0]["version"] == 1
    assert answer["scorers"][1]["error"]["code"] == code
    for cell in answer["items"][0]["scores"]:
        assert math.isfinite(cell["champion"]["score"])
        assert cell["challenger"]["error"] == answer["scorers"][1]["error"]

    alone = post(client, {"scorers": ["challenger"], "items": items})
    assert (alone.status_code, alone.json()["code"]) == (status, code)
    other = client.post("/v1/comparisons", json={"scorer": "challenger", "prompt": "p", "responses": ["a", "b"]})
    assert (other.status_code, other.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("said", "meant"), [({}, INTERACTIVE), ({"priority": "trainer"}, TRAINER), ({"priority": "offline"}, OFFLINE)]
)
def test_a_request_says_how_urgent_it_is(
    scoring_client: TestClient, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], meant: Terms
) -> None:
    submitted: list[Terms] = []
    submit = ScoringEngine.submit_opened

    def noted(*arguments: Any) -> Any:
        submitted.extend(each for each in arguments if isinstance(each, Terms))
        return submit(*arguments)

    monkeypatch.setattr(ScoringEngine, "submit_opened", noted)
    scored(scoring_client, [{"prompt": "product lamp", "response": "It is blue ."}], **said)
    assert submitted == [meant]


def test_an_urgency_that_does_not_exist_is_refused(scoring_client: TestClient) -> None:
    item = {"prompt": "product lamp", "response": "It is blue ."}
    answer = post(scoring_client, {"scorers": ["tiny"], "items": [item], "priority": "at once"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/priority"

"""POST /v1/comparisons turns score differences into preference probabilities and a ranking."""

import math
from typing import Any

import pytest
from fastapi.testclient import TestClient

RESPONSES = ["It is blue .", "The lamp is red .", "red red red"]


def compared(client: TestClient, **body: Any) -> Any:
    answer = client.post("/v1/comparisons", json={"scorer": "tiny", "prompt": "product lamp", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_probabilities_are_the_sigmoid_of_score_differences_over_the_calibration_temperature(
    scoring_client: TestClient,
) -> None:
    answer = compared(scoring_client, responses=RESPONSES)

    scores = [cell["score"] for cell in answer["scores"]]
    assert answer["temperature"] == 2.0
    for i, one in enumerate(scores):
        for j, other in enumerate(scores):
            expected = 1 / (1 + math.exp(-(one - other) / 2))
            assert answer["probabilities"][i][j] == pytest.approx(expected)
    assert [scores[i] for i in answer["ranking"]] == sorted(scores, reverse=True)


def test_chosen_and_rejected_are_a_comparison_of_two(scoring_client: TestClient) -> None:
    pair = compared(scoring_client, chosen=RESPONSES[0], rejected=RESPONSES[1])
    listed = compared(scoring_client, responses=RESPONSES[:2])

    assert pair == listed
    assert pair["probabilities"][0][1] + pair["probabilities"][1][0] == pytest.approx(1)


def test_equal_responses_are_a_draw(scoring_client: TestClient) -> None:
    answer = compared(scoring_client, chosen="It is blue .", rejected="It is blue .")

    assert answer["probabilities"] == [[0.5, 0.5], [0.5, 0.5]]
    assert answer["ranking"] == [0, 1]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"chosen": "a", "rejected": ""}, "/rejected"),
        ({"responses": ["a", "b", "red " * 60]}, "/responses/2"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "/prompt"),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, "/prompt"),
        ({"scorer": "tiny:nothing", "chosen": "a", "rejected": "b"}, "/scorer"),
        ({"chosen": "a"}, ""),
        ({"responses": ["a"]}, "/responses"),
        ({"chosen": "a", "rejected": "b", "responses": ["a", "b"]}, ""),
    ],
)
def test_a_comparison_is_refused_as_a_whole(scoring_client: TestClient, body: dict[str, Any], pointer: str) -> None:
    answer = scoring_client.post("/v1/comparisons", json={"scorer": "tiny", "prompt": "product lamp", **body})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_an_unknown_scorer_is_not_found(scoring_client: TestClient) -> None:
    body = {"scorer": "nobody", "prompt": "p", "chosen": "a", "rejected": "b"}

    answer = scoring_client.post("/v1/comparisons", json=body)

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["pointer"] == "/scorer"


def test_too_long_a_response_keeps_its_own_code(scoring_client: TestClient) -> None:
    body = {"scorer": "tiny", "prompt": "product lamp", "chosen": "a", "rejected": "red " * 60}

    assert scoring_client.post("/v1/comparisons", json=body).json()["code"] == "overlong_input"

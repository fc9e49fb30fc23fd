"""POST /v1/comparisons turns score differences into probabilities and a ranking, of responses and of prompts."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

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
        ({"response": "a", "chosen": "a", "rejected": "b"}, ""),
        ({"response": "a", "perturbed_prompt": "product mug", "prompts": ["a", "b"]}, ""),
        ({"prompt": None, "response": "a", "prompts": ["product mug"]}, "/prompts"),
        ({"prompt": None, "response": " ", "prompts": ["product mug", "product lamp"]}, "/response"),
        ({"prompt": None, "response": "a", "prompts": ["product mug", ""]}, "/prompts/1"),
        ({"response": "a", "perturbed_prompt": "red " * 60}, "/perturbed_prompt"),
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


PROMPTS = ["product lamp | color red", "product lamp | color blue", "product lamp | size tiny"]


def asked(client: TestClient, scorer: str, **body: Any) -> Any:
    answer = client.post("/v1/comparisons", json={"scorer": scorer, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_of_several_prompts_each_has_its_probability_and_any_two_that_of_being_the_one_satisfied(
    scoring_client: TestClient,
) -> None:
    answer = asked(scoring_client, "tiny", response="the color is red .", prompts=PROMPTS)

    scores = [cell["score"] for cell in answer["scores"]]
    alone = [cell["probability"] for cell in answer["scores"]]
    assert answer["between"] == "prompts"
    assert "satisfies prompt i, given" in answer["meaning"]
    assert alone == pytest.approx([1 / (1 + math.exp(-score / 2)) for score in scores])
    for i, one in enumerate(alone):
        for j, other in enumerate(alone):
            # of two independent events one happened and one did not: that it was the first
            expected = one * (1 - other) / (one * (1 - other) + other * (1 - one))
            assert answer["probabilities"][i][j] == pytest.approx(expected)
    assert [scores[i] for i in answer["ranking"]] == sorted(scores, reverse=True)


def test_a_row_with_a_perturbed_prompt_is_a_comparison_of_two_prompts(scoring_client: TestClient) -> None:
    row = asked(scoring_client, "tiny", prompt=PROMPTS[0], perturbed_prompt=PROMPTS[1], response="the color is red .")
    listed = asked(scoring_client, "tiny", prompts=PROMPTS[:2], response="the color is red .")

    assert row == listed


@pytest.fixture
def bradley_terry(
    tmp_path: Path, publish: Callable[..., Artifact], client_of: Callable[[ArtifactStore], TestClient]
) -> TestClient:
    """``responses``, ``prompts`` and ``both``, named for what their training contrasted; one network."""
    store = ArtifactStore(tmp_path)
    for name, found in (("responses", ["responses"]), ("prompts", ["prompts"]), ("both", ["prompts", "responses"])):
        publish(store, name, seed=2, temperature=2.0, loss="bradley_terry", contrasts=found)
    return client_of(store)


def test_bradley_terry_scores_are_read_only_across_what_their_training_contrasted(bradley_terry: TestClient) -> None:
    of_responses = {"prompt": PROMPTS[0], "responses": RESPONSES}
    of_prompts = {"response": RESPONSES[0], "prompts": PROMPTS}
    for scorer, question, there in (
        ("responses", of_responses, True),
        ("responses", of_prompts, False),
        ("prompts", of_responses, False),
        ("prompts", of_prompts, True),
        ("both", of_responses, True),
        ("both", of_prompts, True),
    ):
        answer = asked(bradley_terry, scorer, **question)
        scores = [cell["score"] for cell in answer["scores"]]
        assert {cell["probability"] for cell in answer["scores"]} == {None}
        if there:
            assert answer["probabilities"][0][1] == pytest.approx(1 / (1 + math.exp((scores[1] - scores[0]) / 2)))
            assert "Bradley-Terry" in answer["meaning"]
        else:
            assert (answer["ranking"], answer["probabilities"]) == (None, None)
            assert answer["meaning"].startswith("none: this scorer was trained to tell")


def test_a_scorer_that_was_never_calibrated_says_so(scoring_client: TestClient) -> None:
    answer = asked(scoring_client, "tiny@1", response="the color is red .", prompts=PROMPTS)

    assert answer["temperature"] == 1.0
    assert answer["meaning"].endswith("temperature 1, for none was fitted")

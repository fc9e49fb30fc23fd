"""POST /v1/attributions says what each constraint does to a score, or why that cannot be said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

PROMPT = "product mug | color red ; size tiny | tone calm | start size"
RESPONSE = "size is tiny . the color is red ."


def attributed(client: TestClient, **body: Any) -> Any:
    answer = client.post("/v1/attributions", json={"scorer": "tiny", "response": RESPONSE, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def scored(client: TestClient, *prompts: str) -> list[Any]:
    body = {"scorers": ["tiny"], "items": [{"prompt": prompt, "response": RESPONSE} for prompt in prompts]}
    return [item["scores"][0]["tiny"] for item in client.post("/v1/scores", json=body).json()["items"]]


def test_a_difference_is_the_whole_prompts_score_minus_that_of_the_prompt_without_the_constraint(
    scoring_client: TestClient,
) -> None:
    answer = attributed(scoring_client, id=7, prompt=PROMPT)
    whole, without_color, without_tone, without_start = scored(
        scoring_client,
        PROMPT,
        "product mug | size tiny | tone calm | start size",
        "product mug | color red ; size tiny | start size",
        "product mug | color red ; size tiny | tone calm",
    )

    assert (answer["id"], answer["prompt"], answer["scorer"]["name"]) == (7, PROMPT, "tiny")
    assert answer["score"] == pytest.approx(whole, abs=1e-4)
    found = answer["attributions"]
    assert [each["constraint"] for each in found] == ["color red", "size tiny", "tone calm", "start size"]
    assert "'start size' speaks of it" in found[1]["error"]["detail"]
    assert "score_difference" not in found[1]
    for each, without in ((found[0], without_color), (found[2], without_tone), (found[3], without_start)):
        assert abs(without["score"] - whole["score"]) > 1e-3  # this network minds every word
        assert each["score_difference"] == pytest.approx(whole["score"] - without["score"], abs=2e-4)
        assert each["probability_difference"] == pytest.approx(whole["probability"] - without["probability"], abs=1e-4)
    differences = [found[position]["score_difference"] for position in answer["ranking"]]
    assert sorted(answer["ranking"]) == [0, 2, 3]
    assert differences == sorted(differences)
    assert "negative if held against the response" in answer["meaning"]


def test_constraints_given_as_a_list_follow_the_prompt(scoring_client: TestClient) -> None:
    world = attributed(scoring_client, prompt=PROMPT)
    listed = attributed(
        scoring_client,
        prompt="product mug | color red ; size tiny",
        constraints=["tone calm", "start size"],
        separator=" | ",
    )

    assert listed["prompt"] == PROMPT
    for ours, theirs in zip(listed["attributions"], world["attributions"][2:], strict=True):
        assert (ours["constraint"], ours["prompt"]) == (theirs["constraint"], theirs["prompt"])
        assert ours["score_difference"] == pytest.approx(theirs["score_difference"], abs=2e-4)
    lines = attributed(scoring_client, prompt="product mug", constraints=["tone calm"])
    assert (lines["prompt"], lines["attributions"][0]["prompt"]) == ("product mug\ntone calm", "product mug")


def test_a_scorer_that_never_compared_prompts_gives_no_probability_and_says_so(
    tmp_path: Path, publish: Callable[..., Artifact], client_of: Callable[[ArtifactStore], TestClient]
) -> None:
    store = ArtifactStore(tmp_path)
    publish(store, "tiny", seed=2, temperature=2.0, loss="bradley_terry", contrasts=["responses"])

    answer = attributed(client_of(store), prompt=PROMPT)

    assert "never prompts" in answer["meaning"]
    assert answer["attributions"][0]["probability_difference"] is None
    assert answer["attributions"][0]["score_difference"] != 0


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"prompt": "Write a poem."}, "/prompt", "of other prompts give the constraints"),
        ({"prompt": "product mug | color red | tone calm | len 3 to 5"}, "/prompt", "is not written as its world"),
        ({"prompt": " "}, "/prompt", "the prompt is empty"),
        ({"prompt": PROMPT, "response": ""}, "/response", "the response is empty"),
        ({"prompt": "p", "constraints": ["a", " "]}, "/constraints/1", "the constraint is empty"),
        ({"prompt": "p", "constraints": []}, "/constraints", "at least 1"),
        ({"prompt": "p", "constraints": ["a"] * 64, "separator": " " * 4000}, "/constraints", "is read 65 times"),
        ({"prompt": "p", "constraints": ["red " * 60]}, "/prompt", "constraints are never cut off"),
        ({"prompt": PROMPT, "on_overlong": "truncate_prompt"}, "/on_overlong", "Extra inputs"),
        ({"prompt": PROMPT, "scorer": "tiny:nothing"}, "/scorer", "no output 'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_its_place(
    scoring_client: TestClient, body: dict[str, Any], pointer: str, words: str
) -> None:
    answer = scoring_client.post("/v1/attributions", json={"scorer": "tiny", "response": RESPONSE, **body})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert words in answer.json()["detail"]


def test_a_prompt_with_more_constraints_than_are_left_out_is_refused(scoring_client: TestClient) -> None:
    many = " ; ".join(f"p{index} v{index}" for index in range(65))

    answer = scoring_client.post(
        "/v1/attributions", json={"scorer": "tiny", "response": "r", "prompt": f"product mug | {many}"}
    )

    assert "65 constraints, at most 64" in answer.json()["detail"]


def test_an_unknown_scorer_is_not_found(scoring_client: TestClient) -> None:
    answer = scoring_client.post("/v1/attributions", json={"scorer": "no", "prompt": PROMPT, "response": RESPONSE})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (404, "/scorer")

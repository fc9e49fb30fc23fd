"""Requests and answers as they go over the wire, kept in ``golden/``: a changed format changes a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

GOLDEN = sorted(Path(__file__).with_name("golden").glob("*.json"))


def test_every_format_has_its_files() -> None:
    assert {path.stem.split("-")[0] for path in GOLDEN} == {"openrlhf", "vllm", "slime", "tei", "cohere"}
    assert len(GOLDEN) >= 20


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_answer_is_what_the_file_says(client: TestClient, path: Path) -> None:
    golden = json.loads(path.read_text())

    for address in golden["addresses"]:
        answer = client.post(address, json=golden["request"])

        assert answer.status_code == golden["status"], answer.text
        assert_like(answer.json(), golden["answer"], address)


def assert_like(found: Any, golden: Any, where: str) -> None:
    """Numbers to 1e-4; ``<text>`` and ``<integer>`` stand for what differs from one request to the next."""
    if golden == "<text>":
        assert isinstance(found, str), where
        assert found, where
    elif golden == "<integer>":
        assert type(found) is int, where
    elif isinstance(golden, dict):
        assert list(found) == list(golden), where
        for name, value in golden.items():
            assert_like(found[name], value, f"{where} {name}")
    elif isinstance(golden, list):
        assert len(found) == len(golden), where
        for position, value in enumerate(golden):
            assert_like(found[position], value, f"{where} {position}")
    else:
        assert type(found) is type(golden), where
        assert found == (pytest.approx(golden, abs=1e-4) if isinstance(golden, float) else golden), where


def test_numbers_are_those_of_the_native_route(client: TestClient) -> None:
    item = {"prompt": "product lamp", "response": "The lamp is red ."}
    cell = client.post("/v1/scores", json={"scorers": ["judge"], "items": [item]}).json()["items"][0]["scores"][0]
    score, probability = cell["judge"]["score"], cell["judge"]["probability"]
    text = "[INST] product lamp [/INST] The lamp is red .</s>"

    reward = client.post("/get_reward", json={"query": [text]}).json()
    assert (reward["rewards"], reward["scores"]) == (pytest.approx([score]), pytest.approx([probability]))
    raw = client.post("/classify", json={"input": text, "use_activation": False}).json()
    assert raw["data"][-1]["probs"][-1] == pytest.approx(score)
    assert client.post("/classify", json={"input": text}).json()["data"][0]["probs"] == pytest.approx([probability])
    assert client.post("/remote_rm", json=item).json() == pytest.approx(score)
    pair = {"inputs": [item["prompt"], item["response"]]}
    assert client.post("/predict", json=pair).json()[0]["score"] == pytest.approx(probability)
    assert client.post("/predict", json={**pair, "raw_scores": True}).json()[0]["score"] == pytest.approx(score)
    ranking = client.post("/v2/rerank", json={"query": item["prompt"], "documents": [item["response"]]}).json()
    assert ranking["results"][0]["relevance_score"] == pytest.approx(probability)

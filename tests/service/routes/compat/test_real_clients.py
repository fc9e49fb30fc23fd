"""The clients that these formats are for, over a real connection."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

PROMPT = "<|im_start|>user\nproduct lamp<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def address(serve: Callable[[Any], str], client: TestClient) -> str:
    """A real server of the routes."""
    return serve(client.app)


def score(client: TestClient, response: str) -> dict[str, float]:
    items = [{"prompt": "product lamp", "response": response}]
    answer = client.post("/v1/scores", json={"scorers": ["judge"], "items": items}).json()
    cell: dict[str, float] = answer["items"][0]["scores"][0]["judge"]
    return cell


def test_hugging_faces_inference_client_classifies_pairs_and_conversations(client: TestClient, address: str) -> None:
    expected = score(client, "The lamp is red .")["probability"]
    tei = InferenceClient(f"{address}/compat/tei/predict")

    for text in (["product lamp", "The lamp is red ."], f"{PROMPT}The lamp is red .<|im_end|>"):
        element = tei.text_classification(text)  # TEI answers one input with a flat list, of which it takes the first
        assert element.label == "LABEL_0"
        assert element.score == pytest.approx(expected, abs=1e-4)
    (element,) = tei.text_classification([["product lamp", "The lamp is red ."]])
    assert element.score == pytest.approx(expected, abs=1e-4)
    with pytest.raises(HfHubHTTPError) as raised:
        tei.text_classification("no conversation")
    assert raised.value.response.json()["error_type"] == "Validation"


async def openrlhf_reward(http: httpx.AsyncClient, url: str, query: str, prompt: str) -> dict[str, list[float]]:
    """As OpenRLHF's rollout workers ask: one query a request, five tries a second apart, 180 s each."""
    for _ in range(5):
        try:
            answer = await http.post(url, json={"query": [query], "prompts": [prompt], "labels": [""]}, timeout=180)
            answer.raise_for_status()
            found: dict[str, list[float]] = answer.json()
            return found
        except httpx.HTTPError:
            await asyncio.sleep(1)
    raise RuntimeError("Request error for 5 times")


def test_many_rollouts_of_openrlhf_at_once_each_get_the_reward_of_their_own_query(
    client: TestClient, address: str
) -> None:
    responses = [f"The lamp is {colour} ." for colour in ("red", "blue", "green", "calm")] * 16

    async def rollouts() -> list[dict[str, list[float]]]:
        async with httpx.AsyncClient() as http:
            queries = [f"{PROMPT}{response}<|im_end|>" for response in responses]
            return await asyncio.gather(
                *(openrlhf_reward(http, f"{address}/get_reward", query, PROMPT) for query in queries)
            )

    started = time.monotonic()
    rewards = asyncio.run(rollouts())
    expected = {response: score(client, response) for response in set(responses)}
    for response, reward in zip(responses, rewards, strict=True):
        assert reward["rewards"] == pytest.approx([expected[response]["score"]], abs=1e-4)
        assert reward["scores"] == pytest.approx([expected[response]["probability"]], abs=1e-4)
        assert reward["extra_logs"]["truncated_tokens"] == [0.0]
    assert time.monotonic() - started < 60


def test_slime_gets_a_bare_number(client: TestClient, address: str) -> None:
    sample = {"prompt": "product lamp", "response": "The lamp is red .", "label": "red"}

    answer = httpx.post(f"{address}/compat/slime/remote_rm", json=sample, timeout=120).raise_for_status()

    assert isinstance(answer.json(), float)
    assert answer.json() == pytest.approx(score(client, "The lamp is red .")["score"], abs=1e-4)


def test_slimes_messages_may_carry_what_no_scorer_reads(client: TestClient, address: str) -> None:
    turn = {"role": "user", "content": "product lamp", "name": "alice", "tool_calls": None}
    sample = {"prompt": [turn], "response": "The lamp is red ."}

    answer = httpx.post(f"{address}/compat/slime/remote_rm", json=sample, timeout=120).raise_for_status()

    assert answer.json() == pytest.approx(score(client, "The lamp is red .")["score"], abs=1e-4)


def test_verl_reads_its_reward_where_vllm_puts_it(client: TestClient, address: str) -> None:
    payload = {"model": "judge", "input": f"{PROMPT}The lamp is red .<|im_end|>", "use_activation": False}

    output = httpx.post(f"{address}/classify", json=payload, timeout=60).raise_for_status().json()

    assert output["data"][-1]["probs"][-1] == pytest.approx(score(client, "The lamp is red .")["score"], abs=1e-4)

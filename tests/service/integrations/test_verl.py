"""veRL's reward function asks a server."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from service.client import AssayClient
from service.integrations.verl import compute_score
from service.score_schema import Score
from trainer.errors import InvalidInput

RESPONSE = "The lamp is red ."


def score(server: str, prompt: Any, response: str = RESPONSE) -> float:
    with AssayClient(server) as client:
        (row,) = client.score_items(["tiny@1"], [{"prompt": prompt, "response": response}]).items[0].scores
    assert isinstance(row["tiny@1"], Score)
    return row["tiny@1"].score


def test_a_response_gets_the_score_of_the_prompt_in_extra_info(server: str) -> None:
    expected = pytest.approx(score(server, "product lamp"), abs=1e-4)

    # as veRL's reward managers call it, by name and with what else they know
    asked = partial(compute_score, data_source="d", solution_str=RESPONSE, ground_truth=None, reward_router_address="x")
    assert asked(extra_info={"prompt": "product lamp", "num_turns": 2}) == expected
    assert asked(extra_info={"question": "product lamp"}) == expected
    messages = ({"role": "user", "content": "product lamp"},)
    assert asked(extra_info={"raw_prompt": messages}) == expected
    assert asked(extra_info={"prompt": "product mug", "mine": "product lamp"}, prompt_key="mine") == expected


def test_a_prompt_of_parts_is_the_text_they_are(server: str) -> None:
    parts = [{"type": "text", "text": "product"}, {"type": "text", "text": "lamp", "image": None}]
    expected = pytest.approx(score(server, [{"role": "user", "content": "product\nlamp"}]), abs=1e-4)

    for content in (parts, tuple(parts), np.array(parts, dtype=object)):
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": None, "tool_calls": [{}]},
        ]
        for prompt in (messages, np.array(messages, dtype=object)):
            assert compute_score("d", RESPONSE, None, {"prompt": prompt}) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image", "image": "lamp.png"}]}],
        [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "user", "content": ["bare"]}],
        [{"role": "user", "content": 3}],
        [{"role": "user", "content": {"type": "text", "text": "one part, and no list"}}],
        [{"content": "nobody's"}],
        ["bare"],
        {"role": "user", "content": "one message, and no list"},
        3,
    ],
)
def test_a_prompt_that_is_no_text_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidInput, match=r"scorers read texts only|a message is|a prompt is"):
        compute_score("d", RESPONSE, None, {"prompt": prompt})


def test_a_prompt_that_is_empty_as_a_whole_is_refused(server: str) -> None:
    with pytest.raises(InvalidInput, match="the prompt is empty"):
        compute_score("d", RESPONSE, None, {"prompt": [{"role": "user", "content": None}]})


def test_without_a_prompt_it_says_where_to_write_it() -> None:
    for extra_info in (None, {}, {"index": 3}):
        with pytest.raises(InvalidInput, match="extra_info holds no prompt, raw_prompt, question"):
            compute_score("d", RESPONSE, None, extra_info)
    with pytest.raises(InvalidInput, match="extra_info holds no mine"):
        compute_score("d", RESPONSE, None, {"prompt": "p"}, prompt_key="mine")


def test_a_response_without_a_score_is_an_error_unless_its_reward_is_given(server: str) -> None:
    with pytest.raises(InvalidInput, match=r"the response is empty \(set reward_kwargs\.unscored"):
        compute_score("d", " ", None, {"prompt": "product lamp"})
    assert compute_score("d", " ", None, {"prompt": "product lamp"}, unscored=-3.0) == -3.0


def test_threads_get_each_their_own(server: str) -> None:
    responses = [f"The lamp is {colour} ." for colour in ("red", "blue")] * 16

    with ThreadPoolExecutor(16) as threads:
        ask = partial(compute_score, "d", ground_truth=None, extra_info={"prompt": "product lamp"})
        found = list(threads.map(lambda response: ask(solution_str=response), responses))
    expected = [score(server, "product lamp", response) for response in responses[:2]] * 16
    assert found == pytest.approx(expected, abs=1e-4)

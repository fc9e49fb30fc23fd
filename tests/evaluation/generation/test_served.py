"""Sampling from servers: a real ``transformers serve``, and a small one that says what others may say."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from evaluation.chat_server import ChatServer
from evaluation.generation.local import LocalSampler, cut_grid
from evaluation.generation.sampler import Question, grid
from evaluation.generation.served import Dialect, ServedModel, ServedSampler, cell_seed
from evaluation.recipes import parse_recipe
from tests.loopback import Handler, serving
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput, RunFailed
from trainer.generation.decoding import Decoding
from trainer.generation.sampled import Cell, Sampled
from trainer.generation.truncation import WHOLE, Truncation
from trainer.models.policy import Policy
from trainer.reporting import read_events
from trainer.run import run_recipe

QUESTIONS = [
    Question("a", "product mug | color red"),
    Question("b", "product lamp"),
    Question("c", "product bag | size tiny"),
]
IDS = [question.prompt_id for question in QUESTIONS]


def served(
    base_url: str,
    cells: Sequence[Cell],
    *,
    model: str = "tiny",
    dialect: Dialect = "openai",
    concurrency: int = 4,
    tokens: int = 8,
    truncation: Truncation = WHOLE,
    logprobs: bool = True,
    attempts: int = 1,
    missing: Callable[[Cell], bool] = lambda _: True,
) -> Iterator[Sampled]:
    sampler = ServedSampler(
        ChatServer(base_url, timeout_seconds=300, attempts=attempts),
        ServedModel(model, dialect, logprobs, concurrency),
        seed=3,
        max_response_tokens=tokens,
        truncation=truncation,
    )
    for batch in sampler.sample(QUESTIONS, cells, missing):
        yield from batch


# --- a real server -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy(store: ArtifactStore) -> Policy:
    """The served policy's weights, here."""
    return Policy.load(store.open("policy").path)


def test_greedy_responses_of_a_server_are_those_of_the_same_weights_here(
    transformers_server: Any, policy: Policy
) -> None:
    cells = grid(IDS, [0.0], 1)
    decoding = Decoding(3, 8)
    cut = cut_grid(QUESTIONS, cells, policy.format, policy.max_tokens, decoding)
    here = [each for batch in cut for ended in LocalSampler(policy, decoding).sample(batch) for each in ended]
    expected = {each.cell: (each.response, each.tokens, each.finish_reason) for each in here}
    found = list(served(transformers_server.base_url, cells, model=transformers_server.model, dialect="transformers"))

    assert len(expected) == 3
    assert {each.cell: (each.response, each.tokens, each.finish_reason) for each in found} == expected
    assert {each.mean_logprob for each in found} == {None}  # this server gives none


def test_a_server_told_in_its_dialect_samples_from_the_whole_distribution(
    transformers_server: Any, policy: Policy
) -> None:
    cells = [Cell("a", 2.0, replicate) for replicate in range(300)]
    drawn = [
        each.response
        for each in served(
            transformers_server.base_url,
            cells,
            model=transformers_server.model,
            dialect="transformers",
            tokens=1,
            concurrency=1,
        )
    ]
    with torch.no_grad():
        logits = policy.model(torch.tensor([policy.format.prompt_ids(QUESTIONS[0].prompt)])).logits[0, -1]
    chances: Counter[str] = Counter()
    for token, chance in enumerate(torch.softmax(logits.double() / 2, 0).tolist()):
        chances[policy.tokenizer.decode([token], skip_special_tokens=True)] += chance

    assert len(set(drawn)) > 50  # transformers' own top_k
    observed = Counter(drawn)
    words = [word for word in chances if chances[word] * 300 >= 5]
    rest = 1 - sum(chances[word] for word in words)
    counts = np.array([*(observed[word] for word in words), 300 - sum(observed[word] for word in words)])
    expected = 300 * np.array([*(chances[word] for word in words), rest])
    keep = expected > 0
    assert stats.chisquare(counts[keep], expected[keep], sum_check=False).pvalue > 0.001


def test_in_the_bare_protocol_the_same_server_stays_greedy_which_is_why_there_are_dialects(
    transformers_server: Any,
) -> None:
    cells = [Cell("a", 2.0, replicate) for replicate in range(4)]

    assert (
        len({each.response for each in served(transformers_server.base_url, cells, model=transformers_server.model)})
        == 1
    )


def test_one_request_at_a_time_gives_the_same_responses_again(transformers_server: Any) -> None:
    cells = [Cell(prompt_id, 1.5, replicate) for prompt_id in IDS for replicate in range(4)]

    def sample() -> dict[Cell, str]:
        one_by_one = served(
            transformers_server.base_url, cells, model=transformers_server.model, dialect="transformers", concurrency=1
        )
        return {each.cell: each.response for each in one_by_one}

    first = sample()
    assert len(set(first.values())) > 6
    assert sample() == first


def test_a_stress_test_of_a_served_policy(transformers_server: Any, store: ArtifactStore, tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "kind": "stress_test",
            "name": "served",
            "policy": {
                "base_url": transformers_server.base_url,
                "model": transformers_server.model,
                "dialect": "transformers",
            },
            "prompts": {"kind": "product_world", "limit": 3},
            "temperatures": [0, 1.0],
            "responses_per_prompt": 4,
            "max_response_tokens": 8,
            "scorers": ["rm", "policy/discriminator:difference", "policy:implicit_reward"],
            "oracles": [{"kind": "product_world"}],
            "bootstrap": {"draws": 100},
        }
    )
    summary = run_recipe(recipe, tmp_path / "run", store, quiet=True)
    responses, scores = (
        [json.loads(line) for line in (tmp_path / "run" / name).read_text().splitlines()]
        for name in ("responses.jsonl", "scores.jsonl")
    )

    assert (summary["policy"], summary["n_responses"]) == (transformers_server.model, 15)
    assert len({(row["prompt_id"], row["temperature"], row["replicate"]) for row in responses}) == 15
    for row in responses:
        assert row["sampler"] == {
            "backend": "openai",
            "base_url": transformers_server.base_url,
            "model": transformers_server.model,
            "dialect": "transformers",
            "noise": "the server's, seeded by prompt and replicate",
            "seed": 0,
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "max_response_tokens": 8,
            "logprobs": "the server's",
        }
    scored = {name: [row for row in scores if row["scorer"] == name] for name in {row["scorer"] for row in scores}}
    # what reads texts scores them, wherever they come from; what reads the policy says what it lacks
    for name in ("rm", "policy/discriminator:difference", "policy:implicit_reward", "product_world", "truncated"):
        assert len(scored[name]) == 15
        assert any(row["score"] is not None for row in scored[name])
    assert {row["error"]["detail"] for row in scored["mean_logprob"]} == {
        "mean_logprob needs the log-probabilities of the policy, which its server did not give"
    }


# --- what other servers say ----------------------------------------------------------------------------------------


@dataclass
class Answers:
    """A server that answers as told, and remembers what it was asked."""

    base_url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    choice: dict[str, Any] = field(default_factory=lambda: {"message": {"content": "red"}, "finish_reason": "stop"})
    usage: dict[str, Any] | None = None
    fail_after: int | None = None
    vary: bool = False
    together: threading.Barrier | None = None
    """Where so many are asked at once before any is answered."""
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if self.fail_after is not None and len(self.bodies) >= self.fail_after:
                return 500, {"error": "out of order"}
            self.bodies.append(body)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if self.together is not None:
            self.together.wait(60)
            time.sleep(0.02)  # for one more than may be
        with self.lock:
            self.at_once -= 1
        if self.vary:
            self.choice = {"message": {"content": f"red {body['seed']}"}, "finish_reason": "stop"}
        return 200, {"choices": [self.choice], **({} if self.usage is None else {"usage": self.usage})}


@pytest.fixture
def answers() -> Iterator[Answers]:
    told = Answers()

    class Answering(Handler):
        def post(self, body: bytes) -> None:
            status, content = told.answer(json.loads(body))
            self.reply(status, json.dumps(content).encode())

    with serving(Answering) as address:
        told.base_url = f"{address}/v1"
        yield told


def test_finish_reason_tokens_and_log_probabilities_are_kept_where_they_are_given(answers: Answers) -> None:
    answers.choice["finish_reason"] = "length"
    answers.choice["logprobs"] = {"content": [{"token": "red", "logprob": -0.5}, {"token": ".", "logprob": -1.0}]}
    answers.usage = {"completion_tokens": 2}
    (sampled,) = served(answers.base_url, [Cell("a", 1.0, 0)])

    assert sampled == Sampled(Cell("a", 1.0, 0), "red", tokens=2, finish_reason="length", mean_logprob=-0.75)


def test_what_a_server_leaves_out_is_unknown_not_made_up(answers: Answers) -> None:
    answers.choice = {"message": {"content": None}, "finish_reason": "content_filter"}
    (sampled,) = served(answers.base_url, [Cell("a", 1.0, 0)])

    assert sampled == Sampled(Cell("a", 1.0, 0), "", tokens=None, finish_reason=None, mean_logprob=None)


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ("openai", {"max_completion_tokens": 8}),
        ("vllm", {"max_tokens": 8, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}),
        (
            "transformers",
            {
                "max_tokens": 8,
                "generation_config": json.dumps(
                    {
                        "do_sample": True,
                        "repetition_penalty": 1.0,
                        "temperature": 1.5,
                        "top_k": 0,
                        "top_p": 1.0,
                        "min_p": 0.0,
                    }
                ),
            },
        ),
    ],
)
def test_each_dialect_asks_for_the_whole_distribution_in_its_own_words(
    answers: Answers, dialect: Dialect, said: dict[str, Any]
) -> None:
    list(served(answers.base_url, [Cell("b", 1.5, 2)], dialect=dialect))

    assert answers.bodies == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "product lamp"}],
            "temperature": 1.5,
            "top_p": 1.0,
            "seed": cell_seed(3, Cell("b", 1.5, 2)),
            "logprobs": True,
            **said,
        }
    ]


def test_a_truncation_that_the_protocol_has_no_words_for_is_refused(answers: Answers) -> None:
    with pytest.raises(InvalidInput, match="no part of the OpenAI protocol"):
        list(served(answers.base_url, [], truncation=Truncation(top_k=5)))


def test_seeds_differ_by_prompt_replicate_and_seed_and_not_by_temperature() -> None:
    seeds = {cell_seed(seed, Cell(p, 1.0, r)) for seed in range(5) for p in "abcde" for r in range(5)}

    assert len(seeds) == 125
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert cell_seed(0, Cell("a", 0.5, 1)) == cell_seed(0, Cell("a", 2.0, 1))


def test_as_many_requests_as_allowed_are_under_way_and_no_more(answers: Answers) -> None:
    answers.together = threading.Barrier(3)
    cells = [Cell("a", 1.0, replicate) for replicate in range(9)]

    assert len(list(served(answers.base_url, cells, concurrency=3))) == 9
    assert answers.most_at_once == 3


def test_a_server_that_fails_keeps_what_it_gave_and_a_resumed_run_asks_for_the_rest_alone(answers: Answers) -> None:
    cells = grid(IDS, [0.0, 1.0], 4)
    answers.fail_after = 7
    done: set[Cell] = set()
    with pytest.raises(RunFailed, match="resume the run to ask for the rest"):
        done.update(each.cell for each in recorded(served(answers.base_url, cells), done))
    answers.fail_after = None
    rest = list(served(answers.base_url, cells, missing=lambda cell: cell not in done))

    assert len(done) == 7  # what was under way beside the failure too
    assert sorted(map(str, (each.cell for each in rest))) == sorted(map(str, set(cells) - done))
    assert len(answers.bodies) == len(cells)  # nothing was asked for twice


def recorded(found: Iterator[Sampled], done: set[Cell]) -> Iterator[Sampled]:
    for each in found:
        done.add(each.cell)
        yield each


def test_a_server_that_seems_to_ignore_temperature_is_remarked_on(
    answers: Answers, store: ArtifactStore, tmp_path: Path
) -> None:
    def remarks(name: str) -> list[str]:
        recipe = {
            "kind": "stress_test",
            "name": "same",
            "policy": {"base_url": answers.base_url, "model": "tiny"},
            "prompts": {"kind": "product_world", "limit": 2},
            "temperatures": [0, 2.0],
            "responses_per_prompt": 3,
            "oracles": [{"kind": "product_world"}],
            "bootstrap": {"draws": 100},
        }
        run_recipe(parse_recipe(recipe), tmp_path / name, store, quiet=True)
        return [event["text"] for event in read_events(tmp_path / name) if "seems to" in event.get("text", "")]

    (remark,) = remarks("same")
    assert remark.startswith("tiny gave each of 2 prompts one and the same response 3 times at T = 2: ")
    answers.vary = True
    assert remarks("different") == []


def test_a_server_that_is_not_there_is_said_before_anything_is_sampled(store: ArtifactStore, tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "kind": "stress_test",
            "name": "nobody",
            "policy": {"base_url": "http://127.0.0.1:9/v1", "model": "tiny"},
            "prompts": {"kind": "product_world", "limit": 1},
            "oracles": [{"kind": "product_world"}],
        }
    )

    with pytest.raises(InvalidInput, match="cannot be reached"):
        run_recipe(recipe, tmp_path / "run", store, quiet=True)


@pytest.mark.parametrize(
    ("policy", "pointer"),
    [
        ({"base_url": "127.0.0.1:8000", "model": "m"}, "/policy/base_url"),
        ({"base_url": "http://me:secret@host/v1", "model": "m"}, "/policy/base_url"),
        ({"base_url": "http://host/v1"}, "/policy/model"),
        ({"base_url": "http://host/v1", "model": "m", "path": "p"}, "/policy/path"),
        ({"scratch": {}}, "/policy/scratch"),
    ],
)
def test_a_wrong_policy_is_pointed_at(policy: dict[str, Any], pointer: str) -> None:
    recipe = {"kind": "stress_test", "name": "x", "prompts": {"path": "p"}, "oracles": [{"kind": "product_world"}]}

    with pytest.raises(InvalidInput) as raised:
        parse_recipe({**recipe, "policy": policy})
    assert raised.value.pointer == pointer

"""Sampling from an OpenAI-compatible server: vLLM, ``transformers serve``, or a provider's."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from evaluation.chat_server import ChatServer, Refused, Unanswered
from evaluation.generation.sampler import Question
from trainer.data.text import Prompt, as_messages
from trainer.errors import InvalidInput, RunFailed
from trainer.generation.sampled import Cell, FinishReason, Sampled
from trainer.generation.truncation import Truncation

Dialect = Literal["openai", "vllm", "transformers"]

_SECONDS_BETWEEN_SIGNS = 1.0
"""How long to say nothing while no answer comes: whoever listens may want to stop."""


@dataclass(frozen=True)
class ServedModel:
    """A model as its server calls it, and how to ask for it."""

    name: str
    dialect: Dialect
    logprobs: bool
    """Whether to ask for log-probabilities."""
    concurrency: int
    """Requests under way at a time."""


class ServedSampler:
    """Asks for one response at a time, each with a seed of its own; the server's templates turn prompts into tokens.

    A cell's seed is a function of (seed, prompt, replicate), the same at every temperature. What follows from it is
    the server's affair: its noise is not counter-based, so a response may also depend on what else it was doing, and
    pairing across temperatures is as good as the server makes it.
    """

    def __init__(
        self, server: ChatServer, model: ServedModel, *, seed: int, max_response_tokens: int, truncation: Truncation
    ) -> None:
        """Raises InvalidInput where the server cannot be told to truncate as asked."""
        if model.dialect == "openai" and (truncation.top_k or truncation.min_p):
            raise InvalidInput(
                "top_k and min_p are no part of the OpenAI protocol; leave them out, or give policy.dialect as vllm or"
                " transformers if the server is one",
                pointer="/policy/dialect",
            )
        self._server = server
        self._model = model
        self._seed = seed
        self._max_response_tokens = max_response_tokens
        self._truncation = truncation

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the responses besides policy, prompt and cell: recorded with each of them."""
        truncation = asdict(self._truncation)
        if self._model.dialect == "openai":
            truncation |= {"top_k": None, "min_p": None}  # whatever the server does unasked
        return {
            "backend": "openai",
            "base_url": self._server.base_url,
            "model": self._model.name,
            "dialect": self._model.dialect,
            "noise": "the server's, seeded by prompt and replicate",
            "seed": self._seed,
            **truncation,
            "max_response_tokens": self._max_response_tokens,
            "logprobs": "the server's" if self._model.logprobs else None,
        }

    def sample(
        self, questions: Sequence[Question], cells: Sequence[Cell], missing: Callable[[Cell], bool]
    ) -> Iterator[list[Sampled]]:
        """Responses for every ``missing`` one of ``cells``, some at a time, or none yet, in no particular order.

        Raises RunFailed, naming the cell, where the server does not answer it.
        """
        prompts = {question.prompt_id: question.prompt for question in questions}
        wanted = (cell for cell in cells if missing(cell))
        with self._server, ThreadPoolExecutor(self._model.concurrency) as threads:
            waiting: set[Future[Sampled]] = set()

            def ask(count: int) -> None:
                for cell in islice(wanted, count):
                    waiting.add(threads.submit(self._answer, cell, prompts[cell.prompt_id]))

            failed: Future[Sampled] | None = None
            try:
                ask(self._model.concurrency)
                while waiting:
                    answered, _ = wait(waiting, timeout=_SECONDS_BETWEEN_SIGNS, return_when=FIRST_COMPLETED)
                    waiting -= answered
                    failed = failed or next((future for future in answered if future.exception()), None)
                    if failed is None:
                        ask(len(answered))
                    yield [future.result() for future in answered if future.exception() is None]
            finally:
                threads.shutdown(cancel_futures=True)
            if failed is not None:  # all that was under way has been given by now
                failed.result()

    def _answer(self, cell: Cell, prompt: Prompt) -> Sampled:
        try:
            return _sampled(cell, self._server.complete(self._body(cell, prompt)))
        except (Refused, Unanswered) as error:
            raise RunFailed(
                f"prompt {cell.prompt_id}, temperature {cell.temperature:g}: {error.detail}. What was sampled is kept:"
                " resume the run to ask for the rest"
            ) from error

    def _body(self, cell: Cell, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model.name,
            "messages": as_messages(prompt),
            "temperature": cell.temperature,
            "top_p": self._truncation.top_p,
            "seed": cell_seed(self._seed, cell),
        }
        if self._model.logprobs:
            body["logprobs"] = True
        return body | _DIALECTS[self._model.dialect](cell.temperature, self._truncation, self._max_response_tokens)


def cell_seed(seed: int, cell: Cell) -> int:
    """31 bits, for a server to draw one response with."""
    digest = hashlib.blake2b(f"{seed}\0{cell.prompt_id}\0{cell.replicate}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def _openai(temperature: float, truncation: Truncation, max_response_tokens: int) -> dict[str, Any]:
    return {"max_completion_tokens": max_response_tokens}


def _vllm(temperature: float, truncation: Truncation, max_response_tokens: int) -> dict[str, Any]:
    """All is said: what is not, vLLM takes from the model's generation_config.json."""
    return {
        "max_tokens": max_response_tokens,
        "top_k": truncation.top_k or -1,
        "min_p": truncation.min_p,
        "repetition_penalty": 1.0,
    }


def _transformers(temperature: float, truncation: Truncation, max_response_tokens: int) -> dict[str, Any]:
    """Without ``do_sample`` it answers greedily at every temperature; top_k is 50 where nobody says otherwise."""
    config: dict[str, Any] = {"do_sample": temperature > 0, "repetition_penalty": 1.0}
    if temperature > 0:
        config |= {"temperature": temperature, **asdict(truncation)}
    return {"max_tokens": max_response_tokens, "generation_config": json.dumps(config)}


_DIALECTS: dict[Dialect, Callable[[float, Truncation, int], dict[str, Any]]] = {
    "openai": _openai,
    "vllm": _vllm,
    "transformers": _transformers,
}


def _sampled(cell: Cell, completion: dict[str, Any]) -> Sampled:
    """What of ``completion`` is known; a server may leave out all but the text."""
    choice = completion["choices"][0]
    reason = choice.get("finish_reason")
    finish_reason: FinishReason | None = reason if reason in {"stop", "length"} else None
    tokens = (completion.get("usage") or {}).get("completion_tokens")
    logprobs = [each["logprob"] for each in (choice.get("logprobs") or {}).get("content") or []]
    return Sampled(
        cell=cell,
        response=str(choice["message"].get("content") or ""),
        tokens=tokens if isinstance(tokens, int) else None,
        finish_reason=finish_reason,
        mean_logprob=sum(logprobs) / len(logprobs) if logprobs else None,
    )

"""A language model as the judge, over any OpenAI-compatible server."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from evaluation.chat_server import OPENAI, SERVER_VARIABLE, ChatServer, Refused, Unanswered, check_base_url
from evaluation.engine.scoring import ScoringEngine
from evaluation.oracles.judge_questions import (
    Messages,
    ask_comparison,
    ask_rating,
    read_comparison,
    read_rating,
)
from evaluation.oracles.oracle import Asked, Oracle
from evaluation.oracles.paid_replies import Budget, BudgetSpent, PaidReplies, default_cache
from evaluation.scorers.scorer import Column, Judgement, Scorer, StoredResponse, missing
from trainer.data.text import as_text
from trainer.errors import InvalidInput
from trainer.files import read_jsonl
from trainer.outside import LocalPath, ServerUrl
from trainer.recipe import Model


class Price(Model):
    """What tokens cost, in US dollars a million."""

    prompt: float = Field(ge=0)
    reply: float = Field(ge=0)


class LLMJudgeOracle(Oracle):
    """Rates each response from 1 to 10, or compares it with a baseline's in both orders.

    The key is read from OPENAI_API_KEY and sent only to OPENAI_BASE_URL, or to OpenAI's server where that is not set.
    """

    asks_a_server = True
    kind: Literal["llm_judge"] = "llm_judge"
    model: str = Field(min_length=1)
    """As the server calls it."""
    base_url: ServerUrl = Field(default_factory=lambda: os.environ.get(SERVER_VARIABLE) or OPENAI)
    """Of the server, before ``/chat/completions``."""
    baseline: LocalPath | None = None
    """JSONL file of ``{"prompt_id", "response"}``, one for each prompt. Where it is given the score is 1 for a win over
    it, 0.5 for a tie and 0 for a loss, mean of both orders; otherwise it is the rating."""
    name: str | None = Field(None, min_length=1, max_length=100)
    """What the judgements are called in results; ``llm_judge:MODEL`` unless said."""
    max_reply_tokens: int = Field(512, ge=1)
    max_response_characters: int = Field(100_000, ge=1)
    """A longer response is not sent: it has no score, and costs nothing."""
    options: dict[str, JsonValue] = Field({})
    """Further fields of the request; null takes one out, as ``max_tokens`` for models that want
    ``max_completion_tokens``."""
    concurrency: int = Field(8, ge=1, le=256)
    timeout_seconds: float = Field(120.0, gt=0)
    attempts: int = Field(6, ge=1, le=20)
    """How often one question is asked of a server that does not answer."""
    budget: Budget = Budget()
    price: Price | None = None
    cache: LocalPath | None = None
    """Directory of replies that are paid for already; ``~/.cache/assay/replies`` unless said."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, base_url: str) -> str:
        return check_base_url(base_url)

    def open(
        self, engine: ScoringEngine, prompts: Sequence[Asked], pinned: dict[str, str], directory: Path
    ) -> "_Judge":
        baseline = None if self.baseline is None else _read_baseline(Path(self.baseline), prompts)
        account = directory / f"spent-{re.sub(r'[^A-Za-z0-9.-]+', '_', self._column())}.json"
        if not account.exists():  # a run that has begun to judge may have nothing left to ask
            with self._server() as server:
                server.check()
        cache = default_cache() if self.cache is None else Path(self.cache).expanduser()
        return _Judge(self, PaidReplies(cache, account, self.budget), baseline)

    def _column(self) -> str:
        return self.name or f"llm_judge:{self.model}" + (":pairwise" if self.baseline is not None else "")

    def _server(self) -> ChatServer:
        return ChatServer(self.base_url, timeout_seconds=self.timeout_seconds, attempts=self.attempts)

    def _body(self, messages: Messages) -> dict[str, Any]:
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.max_reply_tokens}
        return {name: value for name, value in {**body, **self.options}.items() if value is not None}


class _Judge(Scorer):
    at_once = 64

    def __init__(self, settings: LLMJudgeOracle, replies: PaidReplies, baseline: Mapping[str, str] | None) -> None:
        self._settings = settings
        self._replies = replies
        self._baseline = baseline
        self._server = settings._server()
        self._cached = 0

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(self._settings._column(), None, "oracle"),)

    @property
    def remarks(self) -> tuple[str, ...]:
        spent, price = self._replies.spent, self._settings.price
        cost = ""
        if price is not None:
            cost = f", ${(spent.prompt_tokens * price.prompt + spent.reply_tokens * price.reply) / 1e6:,.4f}"
        return (
            f"{self._settings._column()} cost {spent.calls:,} calls, {spent.prompt_tokens:,} prompt and"
            f" {spent.reply_tokens:,} reply tokens{cost}; {self._cached:,} replies came from the cache",
        )

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        distinct = {(each.cell.prompt_id, each.response): each for each in responses}
        with self._server, ThreadPoolExecutor(self._settings.concurrency) as pool:
            judged = dict(zip(distinct, pool.map(self._judge, distinct.values()), strict=True))
        return [(judged[each.cell.prompt_id, each.response],) for each in responses]

    def _judge(self, stored: StoredResponse) -> Judgement:
        if len(stored.response) > self._settings.max_response_characters:
            limit = self._settings.max_response_characters
            return missing("overlong_input", f"{len(stored.response)} characters; max_response_characters is {limit}")
        prompt = as_text(stored.prompt)
        if self._baseline is None:
            return self._ask(ask_rating(prompt, stored.response), read_rating)
        rival = self._baseline[stored.cell.prompt_id]
        as_first = self._ask(ask_comparison(prompt, stored.response, rival), read_comparison)
        if as_first.score is None:
            return as_first
        as_second = self._ask(ask_comparison(prompt, rival, stored.response), read_comparison)
        if as_second.score is None:
            return as_second
        return Judgement((as_first.score + 1 - as_second.score) / 2)

    def _ask(self, messages: Messages, read: Callable[[str], float | None]) -> Judgement:
        """One question; a reply that is not of the form asked for gives no score, whatever it may have meant."""
        try:
            reply = self._replies.reply(self._server, self._settings._body(messages))
        except Unanswered as error:
            return Judgement(None, error={"code": "unanswered", "detail": error.detail}, open=True)
        except Refused as error:
            return missing("refused", error.detail)
        except BudgetSpent as error:
            return missing("budget_spent", error.detail)
        self._cached += reply.cached
        score = read(reply.text)
        if score is None:
            said = " ".join(reply.text[:400].split())[:80]
            return missing("unparsable", f"the judge's reply has no single line of the form asked for: {said!r}")
        return Judgement(score)


def _read_baseline(path: Path, prompts: Sequence[Asked]) -> dict[str, str]:
    """The baseline's response to each prompt. Raises InvalidInput naming the line or the prompt that lacks one."""
    found: dict[str, str] = {}
    for line, row in read_jsonl(path):
        prompt_id, response = row.get("prompt_id"), row.get("response")
        if not isinstance(prompt_id, str | int) or not isinstance(response, str):
            raise InvalidInput(f"{path}, line {line}: expected prompt_id and response")
        if found.setdefault(str(prompt_id), response) != response:
            raise InvalidInput(f"{path}, line {line}: prompt {prompt_id} has two responses; a baseline has one")
    for asked in prompts:
        if asked.prompt_id not in found:
            raise InvalidInput(f"{path} has no response to prompt {asked.prompt_id}; a baseline answers all of them")
    return found

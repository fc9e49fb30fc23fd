"""Replies that cost money: asked for once, kept on disk, counted, and no more of them than was allowed."""

import hashlib
import json
import os
import threading
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from evaluation.chat_server import ChatServer, Refused, Unanswered
from trainer.errors import RunFailed
from trainer.files import write_atomically
from trainer.recipe import Model


class BudgetSpent(RunFailed):
    """Asking on would cost more than the recipe allows."""


class Budget(Model):
    """What a run may cost, however often it is continued."""

    calls: int | None = Field(None, ge=1)
    """Completions that are paid for; what the cache answers is free."""
    tokens: int | None = Field(None, ge=1)
    """Of prompts and replies together. The calls under way when it is reached are still paid for."""


@dataclass
class Spent:
    """What a run has cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    """What the model wrote, the empty string where it wrote nothing."""

    text: str
    finish_reason: str | None
    cached: bool


class PaidReplies:
    """A model's replies from a server or from disk. Any number of threads may ask."""

    def __init__(self, cache: Path, account: Path, budget: Budget) -> None:
        """``cache`` is a directory that all runs share; ``account`` is the run's file of what it spent."""
        self._cache = cache
        self._account = account
        self._budget = budget
        self._lock = threading.Lock()
        self._asking: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self.spent = Spent(**json.loads(account.read_text())) if account.exists() else Spent()

    def reply(self, server: ChatServer, body: dict[str, Any]) -> Reply:
        """The reply to ``body``. Raises BudgetSpent, or as ``ChatServer.complete``."""
        kept = self._kept(server, body)
        with self._lock:
            alone = self._asking[kept]
        with alone:  # whoever asks the same meanwhile waits for the reply instead of paying for another
            if kept.exists():
                content = json.loads(kept.read_text(encoding="utf-8"))
                return Reply(content["text"], content["finish_reason"], cached=True)
            return self._paid(server, body, kept)

    def _paid(self, server: ChatServer, body: dict[str, Any], kept: Path) -> Reply:
        self._reserve()
        try:
            completion = server.complete(body)
        except (Refused, Unanswered):
            self._add(-1, 0, 0)
            raise
        choice, usage = completion["choices"][0], completion.get("usage") or {}
        text = choice["message"].get("content")
        text = text if isinstance(text, str) else ""
        content = {"text": text, "finish_reason": choice.get("finish_reason"), "usage": usage}
        write_atomically(kept, json.dumps(content) + "\n")
        # a server that does not count is counted for: no text has more tokens than bytes
        prompt_tokens = _tokens(usage, "prompt_tokens", json.dumps(body["messages"]))
        self._add(0, prompt_tokens, _tokens(usage, "completion_tokens", text))
        return Reply(text, content["finish_reason"], cached=False)

    def _kept(self, server: ChatServer, body: dict[str, Any]) -> Path:
        asked = json.dumps({"server": server.base_url, **body}, sort_keys=True)
        digest = hashlib.sha256(asked.encode()).hexdigest()
        return self._cache / digest[:2] / f"{digest}.json"

    def _reserve(self) -> None:
        """Count a call before it is made: a process killed in the middle has paid for it."""
        with self._lock:
            spent, most = self.spent, self._budget
            if most.calls is not None and spent.calls >= most.calls:
                raise BudgetSpent(f"the budget of {most.calls} calls is spent")
            if most.tokens is not None and spent.prompt_tokens + spent.reply_tokens >= most.tokens:
                raise BudgetSpent(f"the budget of {most.tokens} tokens is spent")
            spent.calls += 1
            self._write()

    def _add(self, calls: int, prompt_tokens: int, reply_tokens: int) -> None:
        with self._lock:
            self.spent.calls += calls
            self.spent.prompt_tokens += prompt_tokens
            self.spent.reply_tokens += reply_tokens
            self._write()

    def _write(self) -> None:
        write_atomically(self._account, json.dumps(asdict(self.spent)) + "\n")


def default_cache() -> Path:
    """Where replies are kept unless a recipe says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "assay" / "replies"


def _tokens(usage: dict[str, Any], name: str, text: str) -> int:
    counted = usage.get(name)
    return counted if isinstance(counted, int) and counted >= 0 else len(text.encode("utf-8", errors="replace"))

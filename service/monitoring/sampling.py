"""Keep a share of the scores that are served, without a request's noticing.

Whether a prompt belongs to the share is decided by its hash: the same prompt always does or never does, whoever asks,
and all responses to it are kept or none, so that agreement within prompts stays measurable. Rows wait in a bounded
queue for a thread that writes them in bulk. Where there is no room they are counted and dropped.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b

from prometheus_client import CollectorRegistry, Counter
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from service.db.bulk import Row
from service.db.columns import storable
from service.db.ids import new_id
from service.db.served import store_served
from service.db.session import writing
from service.score_schema import AnsweringScorer, NoScore, PromptText, Score, ScoreAnswer, ScoreItem
from service.settings import Settings

MOST_WAITING_ROWS = 4096
MOST_WAITING_CHARACTERS = 16_000_000
"""Bounds what waits to some 64 MB of text."""

_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_WHOLE = float(2**64)


class Sampler:
    """Takes what was answered from any thread, and owns the one that writes it."""

    def __init__(
        self, settings: Settings, make_session: sessionmaker[Session], registry: CollectorRegistry | None = None
    ) -> None:
        self._share = settings.monitor_share
        self._keep = settings.monitor_keep
        self._per_hour = settings.monitor_rows_per_hour
        self._make_session = make_session
        self._stored = Counter("assay_monitor_rows", "Served scores kept", registry=registry)
        self._dropped = Counter(
            "assay_monitor_dropped_rows", "Served scores of the share, not kept", ("reason",), registry=registry
        )
        self._waiting: deque[Row] = deque()
        self._characters = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        """Write what still waits, trying once, and stop."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def offer(self, items: Sequence[ScoreItem], answer: ScoreAnswer) -> None:
        """Keep what belongs to the share. Never waits, never raises."""
        if self._share == 0 or self._stopping:
            return
        try:
            rows = [
                row
                for item, scored in zip(items, answer.items, strict=True)
                for row in self._rows(item, answer, scored.scores)
            ]
            if rows:
                self._line_up(rows)
        except Exception:
            self._dropped.labels("failure").inc()
            logging.getLogger(__name__).exception("monitoring: an answer could not be sampled")

    def _rows(self, item: ScoreItem, answer: ScoreAnswer, scored: list[dict[str, Score | NoScore]]) -> Iterator[Row]:
        digest = prompt_digest(item.prompt)
        if int(digest[:16], 16) >= self._share * _WHOLE:
            return
        now = datetime.now(UTC)
        text, hashed = self._keep == "text", self._keep != "none"
        for response, cells in zip(item.texts(), scored, strict=True):
            for scorer in answer.scorers:
                cell = cells[scorer.scorer]
                if isinstance(scorer, AnsweringScorer) and isinstance(cell, Score):
                    yield {
                        "id": new_id("srv"),
                        "time": now,
                        "scorer": f"{scorer.name}@{scorer.version}:{scorer.output}",
                        "prompt": _kept(item.prompt) if text else None,
                        "response": response if text else None,
                        "prompt_digest": digest if hashed else None,
                        "response_digest": _digest(response) if hashed else None,
                        "response_characters": len(response),
                        "score": cell.score,
                        "tokens": cell.tokens,
                        "truncated_tokens": cell.truncated_tokens,
                    }

    def _line_up(self, rows: list[Row]) -> None:
        with self._lock:
            for at, row in enumerate(rows):
                size = _size(row)
                if len(self._waiting) >= MOST_WAITING_ROWS or self._characters + size > MOST_WAITING_CHARACTERS:
                    self._dropped.labels("queue").inc(len(rows) - at)
                    break
                self._waiting.append(row)
                self._characters += size
            if self._thread is None or not self._thread.is_alive():  # not yet there, or died: begin again
                self._thread = threading.Thread(target=self._run, name="monitoring-samples", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = _PAUSE_SECONDS
        while True:
            self._wake.wait(pause)
            last = self._stopping
            done = self._write()
            if last:
                return
            pause = _PAUSE_SECONDS if done else min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _write(self) -> bool:
        """Store what waits. False where the database is away: the rows stay then, as long as there is room."""
        with self._lock:
            rows = list(self._waiting)
        if not rows:
            return True
        try:
            with writing(self._make_session) as session:
                stored = store_served(session, rows, now=datetime.now(UTC), per_hour=self._per_hour)
        except (OperationalError, InterfaceError):
            logging.getLogger(__name__).warning("monitoring: the database does not take samples; trying again")
            return False
        except Exception as error:  # a row that is refused would be refused again
            logging.getLogger(__name__).exception("monitoring: %d samples could not be stored", len(rows))
            self._dropped.labels("refused" if isinstance(error, DBAPIError) else "failure").inc(len(rows))
        else:
            self._stored.inc(stored)
            if stored < len(rows):
                self._dropped.labels("hour").inc(len(rows) - stored)
        self._forget(len(rows))
        return True

    def _forget(self, count: int) -> None:
        with self._lock:
            for _ in range(count):
                self._characters -= _size(self._waiting.popleft())


def prompt_digest(prompt: PromptText) -> str:
    """Equal for equal prompts, whatever they hold: 32 hex digits, BLAKE2b of a text or of all turns as JSON."""
    if isinstance(prompt, str):
        return _digest(prompt)
    turns = [[turn.role, turn.content] for turn in prompt]
    return _digest(json.dumps(turns))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _kept(prompt: PromptText) -> str | list[dict[str, str]]:
    if isinstance(prompt, str):
        return storable(prompt)
    return [{"role": turn.role, "content": storable(turn.content)} for turn in prompt]


def _size(row: Row) -> int:
    prompt = row["prompt"] or ""
    texts = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt]
    return sum(map(len, texts)) + len(row["response"] or "")

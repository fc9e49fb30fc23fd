"""What the engine tells of itself, in plain numbers: a server makes metrics of them, whatever its library is."""

import bisect
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from evaluation.engine.terms import Priority

SCORE_BOUNDS = (-100.0, -30.0, -10.0, -5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
"""Upper bounds of the histogram's buckets; one more bucket holds what is above."""


@dataclass(frozen=True)
class BatchReading:
    """One batch that a model scored."""

    rows: int
    tokens: int
    """Read by the model: a shared prompt counts once."""
    padding: int
    """Positions that hold no token."""
    prefix_hits: int
    """Rows whose prompt was read for another row already."""
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """The line at this moment."""

    pairs: int
    """Admitted and not yet being scored."""
    held_pairs: int
    """Waiting for room."""
    oldest_seconds: float


class EngineMeter(Protocol):
    """Hears what happens in an engine, from any of its threads; must be quick and must not raise."""

    def waited(self, priority: Priority, seconds: float) -> None:
        """A pair left the line after ``seconds``."""
        ...

    def batch(self, reading: BatchReading) -> None:
        """A batch was scored by one model."""
        ...

    def scored(self, scorer: str, score: float, truncated_tokens: int) -> None:
        """``scorer``, as ``NAME@VERSION:OUTPUT``, scored a pair, after dropping so many of its prompt's tokens."""
        ...

    def failed(self, scorer: str, code: str) -> None:
        """A pair got an error of this code in place of a score."""
        ...

    def halved(self, *, out_of_memory: bool) -> None:
        """A batch failed and was divided."""
        ...


@dataclass
class Counts:
    """An ``EngineMeter`` that counts."""

    waited_pairs: Counter[str] = field(default_factory=Counter)
    waited_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Both by priority in lower case."""
    batches: int = 0
    rows: int = 0
    tokens: int = 0
    padding: int = 0
    prefix_hits: int = 0
    truncated_pairs: Counter[str] = field(default_factory=Counter)
    """By scorer."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By scorer and code."""
    scores: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * (len(SCORE_BOUNDS) + 1)))
    """By scorer: how many scores each bucket of ``SCORE_BOUNDS`` holds."""
    out_of_memory: int = 0
    halvings: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def padding_share(self) -> float:
        """Of the positions read, how many held no token; 0 before any was read."""
        return self.padding / max(self.padding + self.tokens, 1)

    def waited(self, priority: Priority, seconds: float) -> None:
        with self._lock:
            self.waited_pairs[priority.name.lower()] += 1
            self.waited_seconds[priority.name.lower()] += seconds

    def batch(self, reading: BatchReading) -> None:
        with self._lock:
            self.batches += 1
            self.rows += reading.rows
            self.tokens += reading.tokens
            self.padding += reading.padding
            self.prefix_hits += reading.prefix_hits

    def scored(self, scorer: str, score: float, truncated_tokens: int) -> None:
        with self._lock:
            self.scores[scorer][bisect.bisect_left(SCORE_BOUNDS, score)] += 1
            self.truncated_pairs[scorer] += truncated_tokens > 0

    def failed(self, scorer: str, code: str) -> None:
        with self._lock:
            self.errors[scorer, code] += 1

    def halved(self, *, out_of_memory: bool) -> None:
        with self._lock:
            self.halvings += 1
            self.out_of_memory += out_of_memory

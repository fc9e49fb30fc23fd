"""The one thread that owns a device: it loads models and runs them, and nothing that fails there can stop it."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import torch

from evaluation.engine.batching import Group, batches
from evaluation.engine.line import Ask, WaitingLine
from evaluation.engine.pairs import Scored
from evaluation.engine.probability import probability
from trainer.errors import AssayError, BrokenArtifact, Overloaded, RunFailed

T = TypeVar("T")

_ROUND_BATCHES = 8
"""A round is this many batches long: enough for sorting to pay, short enough for a newcomer to wait for."""


class DeviceOwner:
    """Runs what waits in ``line``, round by round, and whatever it is told to ``call`` in between."""

    def __init__(self, line: WaitingLine, token_budget: int, window_seconds: float) -> None:
        self._line = line
        self._token_budget = token_budget
        self._window_seconds = window_seconds
        self._calls: deque[Callable[[], None]] = deque()
        self._closing = False
        self._admission = threading.Lock()
        self._thread = threading.Thread(target=self._own, name="assay-device-owner", daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the owner thread; return or raise what it does. Raises Overloaded once closed."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        with self._admission:  # a call admitted before closing is seen by the thread before it ends
            if self._closing:
                raise Overloaded("the scoring engine is shutting down; try again")
            self._calls.append(run)
        self._line.wake()
        return future.result()

    def close(self) -> None:
        """Finish the round at hand, fail what still waits, end the thread."""
        with self._admission:
            self._closing = True
        waiting = [ask for ask in self._line.close() if _still_wanted(ask)]
        _fail(waiting, Overloaded("the scoring engine was shut down; try again"))
        self._thread.join()

    def _own(self) -> None:
        while not self._closing:
            while self._calls:
                self._calls.popleft()()
            asks = self._line.take(_ROUND_BATCHES * self._token_budget, self._window_seconds)
            wanted = [ask for ask in asks if _still_wanted(ask)]
            for batch in batches(wanted, self._token_budget):
                self._score(batch)
        while self._calls:
            self._calls.popleft()()

    def _score(self, batch: Sequence[Group]) -> None:
        """Score a batch; halve one that fails until those that fail alone are found."""
        rows, error = _forward(batch)
        if error is None:
            for group, row in zip(batch, rows, strict=True):
                for ask in group:
                    _answer(ask, row)
        elif len(batch) == 1:
            _fail(batch[0], _as_expected(error))
        else:
            if isinstance(error, torch.OutOfMemoryError):
                self._token_budget = max(1, self._token_budget // 2)
            half = len(batch) // 2
            self._score(batch[:half])
            self._score(batch[half:])


def _forward(batch: Sequence[Group]) -> tuple[list[list[float]], Exception | None]:
    """Scores by row and output, or why there are none."""
    model = batch[0][0].model.model
    try:
        with torch.no_grad():
            return model.score([group[0].encoded for group in batch]).tolist(), None
    except Exception as error:
        return [], error


def _still_wanted(ask: Ask) -> bool:
    wanted = [future.set_running_or_notify_cancel() for _, future in ask.futures]  # every future must be told
    return any(wanted)


def _answer(ask: Ask, row: Sequence[float]) -> None:
    for column, future in ask.futures:
        if future.cancelled():
            continue
        score = row[column]
        if not math.isfinite(score):
            future.set_exception(RunFailed("the model gave no finite score for this pair; try another scorer"))
            continue
        try:
            likelihood = probability(ask.model.manifest, column, score)
        except (TypeError, ArithmeticError, AttributeError):
            future.set_exception(
                BrokenArtifact("the scorer's calibration is not {center, temperature}; train it again")
            )
            continue
        future.set_result(Scored(score, likelihood, ask.encoded.tokens, ask.encoded.truncated_tokens))


def _fail(asks: Sequence[Ask], error: AssayError) -> None:
    for ask in asks:
        for _, future in ask.futures:
            if not future.cancelled():
                future.set_exception(error)


def _as_expected(error: Exception) -> AssayError:
    if isinstance(error, AssayError):
        return error
    logging.getLogger(__name__).error("scoring failed", exc_info=error)
    return RunFailed(f"the model failed on this pair ({type(error).__name__}); see the server's log")

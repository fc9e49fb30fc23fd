"""The one thread that owns a device: it loads models and runs them, and nothing that fails there can stop it."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import torch

from evaluation.engine.batching import Group, batches
from evaluation.engine.line import Ask, WaitingLine, Wish
from evaluation.engine.pairs import Scored
from evaluation.engine.probability import probability
from evaluation.engine.residency import LoadedModel
from trainer.errors import AssayError, BrokenArtifact, Overloaded, RunFailed

if TYPE_CHECKING:
    from trainer.models.readings import Readings

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
        _fail(
            [wish for ask in waiting for wish in ask.wishes], Overloaded("the scoring engine was shut down; try again")
        )
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
        """Score a batch by each of its models, which share what backbones saw of it."""
        from trainer.models.readings import Readings  # loaded with the first model: policies take seconds to import

        readings = Readings([group[0].encoded for group in batch])
        for model in dict.fromkeys(wish.model for wish in batch[0][0].wishes):
            self._score_by(model, batch, readings)

    def _score_by(self, model: LoadedModel, batch: Sequence[Group], readings: "Readings") -> None:
        """Score a batch by one model; halve one that fails until those that fail alone are found."""
        from trainer.models.readings import Readings

        wanted = dict.fromkeys(
            wish.output for group in batch for ask in group for wish in ask.wishes if wish.model is model
        )
        rows, error = _forward(model, list(wanted), readings)
        if error is None:
            for group, row in zip(batch, rows, strict=True):
                named = dict(zip(wanted, row, strict=True))
                for ask, wish in _wishes(group, model):
                    _answer(ask, wish, named[wish.output])
        elif len(batch) == 1:
            _fail([wish for _, wish in _wishes(batch[0], model)], _as_expected(error))
        else:
            if isinstance(error, torch.OutOfMemoryError):
                self._token_budget = max(1, self._token_budget // 2)
            half = len(batch) // 2
            for part in (batch[:half], batch[half:]):
                self._score_by(model, part, Readings([group[0].encoded for group in part]))


def _forward(
    model: LoadedModel, outputs: Sequence[str], readings: "Readings"
) -> tuple[list[list[float]], Exception | None]:
    """Scores by row and output, or why there are none."""
    try:
        with torch.no_grad():
            return model.model.score(readings.rows, outputs, readings).tolist(), None
    except Exception as error:
        return [], error


def _wishes(group: Group, model: LoadedModel) -> Iterator[tuple[Ask, Wish]]:
    return ((ask, wish) for ask in group for wish in ask.wishes if wish.model is model)


def _still_wanted(ask: Ask) -> bool:
    wanted = [wish.future.set_running_or_notify_cancel() for wish in ask.wishes]  # every future must be told
    return any(wanted)


def _answer(ask: Ask, wish: Wish, score: float) -> None:
    if wish.future.cancelled():
        return
    if not math.isfinite(score):
        wish.future.set_exception(RunFailed("the model gave no finite score for this pair; try another scorer"))
        return
    try:
        likelihood = probability(wish.model.manifest, wish.output == wish.model.model.outputs[0], score)
    except (TypeError, ArithmeticError, AttributeError):
        wish.future.set_exception(
            BrokenArtifact("the scorer's calibration is not {center, temperature}; train it again")
        )
        return
    wish.future.set_result(Scored(score, likelihood, ask.encoded.tokens, ask.encoded.truncated_tokens))


def _fail(wishes: Iterable[Wish], error: AssayError) -> None:
    for wish in wishes:
        if not wish.future.cancelled():
            wish.future.set_exception(error)


def _as_expected(error: Exception) -> AssayError:
    if isinstance(error, AssayError):
        return error
    logging.getLogger(__name__).error("scoring failed", exc_info=error)
    return RunFailed(f"the model failed on this pair ({type(error).__name__}); see the server's log")

"""The one thread that owns a device: it loads models and runs them, and nothing that fails there can stop it."""

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from evaluation.engine.asks import Ask, Wish
from evaluation.engine.batching import Batch, Group, batches
from evaluation.engine.line import WaitingLine
from evaluation.engine.meter import BatchReading, Counts, EngineMeter
from evaluation.engine.pairs import Scored
from evaluation.engine.probability import probability
from evaluation.engine.residency import LoadedModel
from evaluation.engine.shortage import is_out_of_memory
from evaluation.engine.turns import Round
from trainer.errors import AssayError, BrokenArtifact, DeadlineExceeded, OutOfMemory, Overloaded, RunFailed, Unscorable

if TYPE_CHECKING:
    from trainer.models.readings import Readings

T = TypeVar("T")

_ROUND_BATCHES = 8
"""A round is this many batches long: enough for sorting to pay, short enough for a newcomer to wait for."""

_RECOVERY_BATCHES = 256
"""Out of memory halves the budget; over so many batches without, all of it comes back."""


class DeviceOwner:
    """Runs what waits in ``line``, round by round, and whatever it is told to ``call`` in between."""

    def __init__(
        self,
        line: WaitingLine,
        token_budget: int,
        window_seconds: float,
        *,
        deterministic: bool = False,
        meter: EngineMeter | None = None,
    ) -> None:
        """``deterministic`` has every pair read alone at its own length, the one shape it ever has."""
        self._line = line
        self._token_budget = self._whole_budget = token_budget
        self._window_seconds = window_seconds
        self._deterministic = deterministic
        self._meter = meter or Counts()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._closing = False
        self._admission = threading.Lock()
        self._thread = threading.Thread(target=self._own, name="assay-device-owner", daemon=True)
        self._thread.start()

    @property
    def token_budget(self) -> int:
        """Tokens of a batch at present: less than at first for a while after memory ran out."""
        return self._token_budget

    def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the owner thread; return or raise what it does. Raises Overloaded once closed."""
        future: Future[T] = Future()
        with self._admission:  # a call admitted before closing is seen by the thread before it ends
            if self._closing:
                raise Overloaded("the scoring engine is shutting down; try again")
            self._calls.append((future, work))
        self._line.wake()
        try:
            return future.result()
        finally:
            del future  # an error in it holds this frame: the two would keep alive what the work had made

    def close(self) -> None:
        """Finish the round at hand, fail what still waits, end the thread."""
        with self._admission:
            self._closing = True
        for ask in self._line.close():
            if _still_wanted(ask):
                self._fail(ask.wishes, Overloaded("the scoring engine was shut down; try again"))
        self._thread.join()

    def _own(self) -> None:
        while not self._closing:
            self._answer_calls()
            self._serve(self._line.take(_ROUND_BATCHES * self._token_budget, self._window_seconds))
        self._answer_calls()

    def _answer_calls(self) -> None:
        while self._calls:
            _run(*self._calls.popleft())

    def _serve(self, taken: Round) -> None:
        """Score a round; whatever goes wrong beside a model's own failure, nobody is left without an answer."""
        try:
            self._serve_batches(taken)
        except Exception as error:
            failure = _as_expected(error)
            for wish in (wish for ask in taken.asks for wish in ask.wishes):
                with contextlib.suppress(InvalidStateError):  # it has its outcome, or nobody waits for it
                    wish.future.set_exception(failure)

    def _serve_batches(self, taken: Round) -> None:
        """Score a round. What is more urgent waits for one batch of it, and it for one round of that, in turn.

        Calls wait for one batch too: a model is loaded in the middle of a round, not after all of an overload.
        """
        unscored = len(taken.asks)
        try:
            cut = deque(
                batches(taken.asks, 0 if self._deterministic else self._token_budget, share=not self._deterministic)
            )
            while cut:
                batch = cut.popleft()
                self._score(batch)
                pairs = sum(map(len, batch.groups))
                self._line.done(pairs)
                unscored -= pairs
                self._answer_calls()
                if cut and (urgent := self._line.take_urgent(taken.urgency, _ROUND_BATCHES * self._token_budget)).asks:
                    self._serve(urgent)
        finally:
            self._line.done(unscored)

    def _score(self, batch: Batch) -> None:
        """Score what is still wanted of a batch by each of its models, which share what backbones saw of it."""
        from trainer.models.readings import Readings  # loaded with the first model: policies take seconds to import

        groups = [wanted for group in batch.groups if (wanted := [ask for ask in group if self._is_wanted(ask)])]
        if groups:
            batch = Batch(groups, batch.prompt)
            readings = Readings(batch.rows, batch.prompt)
            for model in dict.fromkeys(wish.model for wish in groups[0][0].wishes):
                self._score_by(model, batch, readings)

    def _score_by(self, model: LoadedModel, batch: Batch, readings: "Readings", *, budget_halved: bool = False) -> None:
        """Score a batch by one model; halve one that fails until those that fail alone are found.

        ``budget_halved`` where memory ran out for a batch that this one is part of.
        """
        from trainer.models.readings import Readings

        groups = batch.groups
        wanted = dict.fromkeys(
            wish.output for group in groups for ask in group for wish in ask.wishes if wish.model is model
        )
        started = time.perf_counter()
        rows, error = _forward(model, list(wanted), readings)
        if error is None:
            step = max(1, self._whole_budget // _RECOVERY_BATCHES)
            self._token_budget = min(self._whole_budget, self._token_budget + step)
            self._meter.batch(_reading(model, batch, time.perf_counter() - started))
            for group, row in zip(groups, rows, strict=True):
                named = dict(zip(wanted, row, strict=True))
                for ask, wish in _wishes(group, model):
                    self._answer(ask, wish, named[wish.output])
        elif len(groups) == 1:
            self._fail([wish for _, wish in _wishes(groups[0], model)], _as_expected(error))
        else:
            out_of_memory = is_out_of_memory(error)
            self._meter.halved(out_of_memory=out_of_memory)
            if out_of_memory and not budget_halved:
                self._token_budget = max(1, self._token_budget // 2)
            # its frames and the readings hold what the failed attempt had made: the halves need that memory
            error = None
            readings.forget()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            half = len(groups) // 2
            for part in (Batch(groups[:half], batch.prompt), Batch(groups[half:], batch.prompt)):
                part_readings = Readings(part.rows, part.prompt)
                self._score_by(model, part, part_readings, budget_halved=budget_halved or out_of_memory)

    def _is_wanted(self, ask: Ask) -> bool:
        """Whether anybody still waits for it. Fails what nobody wants any more because it is late."""
        now = time.monotonic()
        self._meter.waited(ask.priority, now - ask.since)
        if not _still_wanted(ask):
            return False
        if now < ask.deadline:
            return True
        late = f"its turn came {now - ask.since:.1f} s after it was asked, which is too late; ask again"
        self._fail(ask.wishes, DeadlineExceeded(late))
        return False

    def _answer(self, ask: Ask, wish: Wish, score: float) -> None:
        if wish.future.cancelled():
            return
        if not math.isfinite(score):
            self._fail([wish], Unscorable("the model gave no finite score for this pair; try another scorer"))
            return
        try:
            likelihood = probability(wish.model.manifest, wish.output == wish.model.model.outputs[0], score)
        except (TypeError, ArithmeticError, AttributeError):
            broken = "the scorer's calibration is not {center, temperature}; train it again"
            self._fail([wish], BrokenArtifact(broken))
            return
        self._meter.scored(wish.name, score, ask.encoded.truncated_tokens)
        wish.future.set_result(Scored(score, likelihood, ask.encoded.tokens, ask.encoded.truncated_tokens))

    def _fail(self, wishes: Iterable[Wish], error: AssayError) -> None:
        for wish in wishes:
            if not wish.future.cancelled():
                self._meter.failed(wish.name, error.code)
                wish.future.set_exception(error)


def _run(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
        del future  # as in ``call``


def _reading(model: LoadedModel, batch: Batch, seconds: float) -> BatchReading:
    lengths = [row.tokens for row in batch.rows]
    if batch.prompt is None:
        tokens, longest = sum(lengths), max(lengths)
        padding = 0 if longest <= model.model.longest_packed else len(lengths) * longest - tokens
        return BatchReading(len(lengths), tokens, padding, 0, seconds)
    # responses stand behind their prompt without padding
    repeated = (len(lengths) - 1) * batch.prompt.tokens
    return BatchReading(len(lengths), sum(lengths) - repeated, 0, len(lengths) - 1, seconds)


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


def _as_expected(error: Exception) -> AssayError:
    """The server's failure and not the pair's: asked again, or of another server, the pair may have its score."""
    if isinstance(error, AssayError):
        return error
    logging.getLogger(__name__).error("scoring failed", exc_info=error)
    if is_out_of_memory(error):
        return OutOfMemory("memory ran out for this pair alone; unload what is not needed, or ask again later")
    return RunFailed(f"the model failed on this pair ({type(error).__name__}); see the server's log")

"""The owner thread outlives whatever fails on it, and a failure reaches only those it belongs to."""

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import torch

from evaluation.engine.asks import Ask, Wish
from evaluation.engine.line import WaitingLine
from evaluation.engine.meter import BatchReading, Counts
from evaluation.engine.owner import DeviceOwner
from evaluation.engine.pairs import Scored
from evaluation.engine.residency import LoadedModel
from evaluation.engine.terms import Priority
from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.errors import AssayError, DeadlineExceeded, Overloaded, Unscorable
from trainer.manifest import Manifest
from trainer.models.readings import Readings

MANIFEST = Manifest(
    kind="reward_model", name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe={},
    recipe_digest="", parents=[], data_digest=None, code_version="", metrics={},
    details={"loss": "bce", "calibration": {"temperature": 2.0}}, probes=[], files={},
)  # fmt: skip


class Sums:
    """Scores a pair by the sum of its ids. Refuses batches that hold 13, more than four rows, and gives NaN for 7."""

    outputs = ("score",)
    max_tokens = 8
    template_hash = ""
    longest_shared = 0
    longest_packed = 0
    tokenizer = cast(Any, None)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        return Encoded([int(response)], 0)

    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: Readings | None = None
    ) -> torch.Tensor:
        self.gate.wait()
        self.batches.append([row.input_ids[0] for row in batch])
        if len(batch) > 4:
            raise torch.OutOfMemoryError("four rows are all that fit")
        if any(13 in row.input_ids for row in batch):
            raise ValueError("unlucky")
        return torch.tensor([[float("nan") if row.input_ids == [7] else float(sum(row.input_ids))] for row in batch])

    def networks_held(self) -> tuple[torch.nn.Module, ...]:
        return ()


@pytest.fixture
def line() -> WaitingLine:
    return WaitingLine(1000)


@pytest.fixture
def owner(line: WaitingLine) -> Iterator[DeviceOwner]:
    owner = DeviceOwner(line, token_budget=100, window_seconds=0.001)
    yield owner
    owner.close()


def submit(
    line: WaitingLine, model: Sums, values: Sequence[int], manifest: Manifest = MANIFEST
) -> list[Future[Scored]]:
    loaded = LoadedModel(manifest, model)
    futures: list[Future[Scored]] = [Future() for _ in values]
    place = line.reserve(len(values))
    asks = [Ask(Encoded([v], 0), (Wish(loaded, "score", f),)) for v, f in zip(values, futures, strict=True)]
    line.join(place, asks)
    return futures


def outcomes(futures: Sequence[Future[Scored]]) -> list[float | str]:
    found: list[float | str] = []
    for future in futures:
        try:
            found.append(future.result(timeout=10).score)
        except AssayError as error:
            found.append(error.code)
    return found


def test_one_bad_pair_fails_alone_and_the_thread_lives_on(line: WaitingLine, owner: DeviceOwner) -> None:
    model = Sums()

    assert outcomes(submit(line, model, [1, 13, 2])) == [1.0, "run_failed", 2.0]
    assert outcomes(submit(line, model, [3])) == [3.0]


def test_a_score_that_is_not_a_number_becomes_an_error(line: WaitingLine, owner: DeviceOwner) -> None:
    futures = submit(line, Sums(), [7, 8])

    with pytest.raises(Unscorable, match="no finite score"):
        futures[0].result(timeout=10)
    assert futures[1].result(timeout=10).score == 8.0


def test_memory_that_is_short_for_one_pair_is_not_the_fault_of_the_pair(line: WaitingLine, owner: DeviceOwner) -> None:
    class Large(Sums):
        def score(self, *_: Any, **__: Any) -> torch.Tensor:
            raise torch.OutOfMemoryError("not even one row")

    assert outcomes(submit(line, Large(), [1, 2])) == ["out_of_memory"] * 2


@pytest.mark.parametrize("calibration", [{"temperature": 0}, {"center": "x"}, "none"])
def test_a_calibration_that_is_none_fails_its_pairs_and_the_thread_lives_on(
    line: WaitingLine, owner: DeviceOwner, calibration: object
) -> None:
    odd = MANIFEST.model_copy(update={"details": {"loss": "bce", "calibration": calibration}})

    assert outcomes(submit(line, Sums(), [1, 2], odd)) == ["broken_artifact", "broken_artifact"]
    assert outcomes(submit(line, Sums(), [3])) == [3.0]


def test_running_out_of_memory_halves_the_batch_and_the_budget(line: WaitingLine, owner: DeviceOwner) -> None:
    model = Sums()

    assert outcomes(submit(line, model, [1, 2, 3, 4, 5, 6])) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert model.batches == [[1, 2, 3, 4, 5, 6], [1, 2, 3], [4, 5, 6]]


def test_the_budget_comes_back_after_memory_ran_out(line: WaitingLine) -> None:
    owner = DeviceOwner(line, token_budget=1024, window_seconds=0.001)
    model = Sums()
    outcomes(submit(line, model, [1, 2, 3, 4, 5, 6]))

    # six rows are too many: 1024 is halved, and the two batches of three give back 1024 / 256 each
    assert owner.token_budget == 512 + 2 * 4
    for _ in range(126):
        outcomes(submit(line, model, [1]))
    assert owner.token_budget == 1024
    outcomes(submit(line, model, [1]))
    assert owner.token_budget == 1024
    owner.close()


def test_a_call_waits_for_a_batch_and_not_for_a_round(line: WaitingLine) -> None:
    owner = DeviceOwner(line, token_budget=2, window_seconds=0.001)  # two pairs a batch
    model = Sums()
    model.gate.clear()
    futures = submit(line, model, [1, 2, 3, 4, 5, 6])
    while line.oldest_seconds:  # until the round has begun, of which all is taken
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as caller:
        scored = caller.submit(owner.call, lambda: len(model.batches))
        while not owner._calls:
            time.sleep(0.001)
        model.gate.set()
        assert scored.result() == 1

    assert outcomes(futures) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    owner.close()


def test_a_meter_that_fails_costs_a_round_its_scores_and_the_thread_lives_on(line: WaitingLine) -> None:
    class Failing(Counts):
        def batch(self, reading: BatchReading) -> None:
            super().batch(reading)
            if self.batches == 1:
                raise OSError("no space for metrics")

    owner = DeviceOwner(line, token_budget=100, window_seconds=0.001, meter=Failing())

    assert outcomes(submit(line, Sums(), [1, 2])) == ["run_failed", "run_failed"]
    assert outcomes(submit(line, Sums(), [3])) == [3.0]
    owner.close()


def test_the_probability_uses_the_fitted_temperature(line: WaitingLine, owner: DeviceOwner) -> None:
    # sigma(3 / 2) = 1 / (1 + e^-1.5) = 0.8176
    assert submit(line, Sums(), [3])[0].result(timeout=10).probability == pytest.approx(0.8175745)


def test_a_cancelled_pair_is_never_scored(line: WaitingLine, owner: DeviceOwner) -> None:
    model = Sums()
    model.gate.clear()
    first = submit(line, model, [1])
    while not first[0].running():
        pass
    second = submit(line, model, [2, 3])
    cancelled = second[0].cancel()
    model.gate.set()

    assert cancelled
    assert outcomes([first[0], second[1]]) == [1.0, 3.0]
    assert model.batches == [[1], [3]]


def test_calls_run_on_the_owner_thread_and_their_failures_return_to_the_caller(owner: DeviceOwner) -> None:
    assert owner.call(lambda: threading.current_thread().name) == "assay-device-owner"
    with pytest.raises(ZeroDivisionError):
        owner.call(lambda: 1 / 0)
    assert owner.call(lambda: 2) == 2


def test_closing_fails_who_still_waits_and_refuses_newcomers(line: WaitingLine) -> None:
    owner = DeviceOwner(line, token_budget=100, window_seconds=0.001)
    model = Sums()
    model.gate.clear()
    first = submit(line, model, [1])
    while not first[0].running():
        pass
    second = submit(line, model, [2])
    closing = threading.Thread(target=owner.close)
    closing.start()

    assert outcomes(second) == ["overloaded"]
    model.gate.set()
    closing.join()
    assert outcomes(first) == [1.0]
    with pytest.raises(Overloaded):
        owner.call(lambda: 1)


def test_what_comes_too_late_fails_without_being_scored(line: WaitingLine, owner: DeviceOwner) -> None:
    model = Sums()
    model.gate.clear()
    (first,) = submit(line, model, [1])
    while not first.running():
        pass
    late: Future[Scored] = Future()
    wish = Wish(LoadedModel(MANIFEST, model), "score", late)
    now = time.monotonic()
    line.join(line.reserve(1), [Ask(Encoded([2], 0), (wish,), since=now, deadline=now + 0.01)])
    time.sleep(0.02)
    model.gate.set()

    with pytest.raises(DeadlineExceeded, match="too late; ask again"):
        late.result(timeout=10)
    assert outcomes([first]) == [1.0]
    assert model.batches == [[1]]


def test_an_urgent_pair_waits_for_one_batch_of_what_is_not_and_not_for_its_round(line: WaitingLine) -> None:
    model = Sums()
    model.gate.clear()
    owner = DeviceOwner(line, token_budget=1, window_seconds=0.001)
    slow = submit(line, model, [1, 2, 3])
    while not slow[0].running():
        pass
    fast: Future[Scored] = Future()
    wish = Wish(LoadedModel(MANIFEST, model), "score", fast)
    line.join(line.reserve(1), [Ask(Encoded([9], 0), (wish,), priority=Priority.INTERACTIVE)])
    model.gate.set()

    assert outcomes([*slow, fast]) == [1.0, 2.0, 3.0, 9.0]
    owner.close()
    assert model.batches == [[1], [9], [2], [3]]


def test_the_meter_hears_of_batches_padding_errors_and_halvings(line: WaitingLine) -> None:
    meter = Counts()
    owner = DeviceOwner(line, token_budget=100, window_seconds=0.001, meter=meter)
    outcomes(submit(line, Sums(), [1, 2, 3, 7, 13, 6]))
    owner.close()

    # six rows are too many; of [1, 2, 3] and [7, 13, 6] the second fails, and of it [7] and [6] give numbers
    assert (meter.out_of_memory, meter.halvings) == (1, 3)
    assert (meter.batches, meter.rows, meter.tokens, meter.padding) == (3, 5, 5, 0)
    assert meter.errors == {("m@1:score", "unscorable"): 1, ("m@1:score", "run_failed"): 1}
    # bounds 1, 2, 5 and 10 stand at places 9 to 12: scores 1; 2; 3; 6
    assert meter.scores["m@1:score"][9:13] == [1, 1, 1, 1]
    assert meter.waited_pairs == {"offline": 6}


class OneRowFits(Sums):
    """Makes a tensor and fails where there is a second row; ``alive`` is how many of failed attempts are left."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[weakref.ref[torch.Tensor]] = []
        self.alive: list[int] = []

    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: Readings | None = None
    ) -> torch.Tensor:
        self.alive.append(sum(made() is not None for made in self._made))
        activations, kept = torch.zeros(8), Kept()
        self._made += [weakref.ref(activations), weakref.ref(kept.hidden_states)]
        assert readings is not None
        readings._by_policy[cast(Any, self)] = cast(Any, kept)
        if len(batch) > 1:
            raise torch.OutOfMemoryError("one row is all that fits")
        return torch.zeros(1, 1)


class Kept:
    """What a reading holds for the next model of the batch."""

    def __init__(self) -> None:
        self.hidden_states = torch.zeros(8)


def test_halves_find_the_memory_of_the_failed_attempt_free_and_one_shortage_halves_the_budget_once(
    line: WaitingLine,
) -> None:
    owner = DeviceOwner(line, token_budget=1024, window_seconds=0.001)
    model = OneRowFits()

    assert outcomes(submit(line, model, [1, 2, 3, 4])) == [0.0] * 4
    owner.close()

    assert model.alive == [0] * 7  # four rows, two and two, and each of the four
    assert owner.token_budget == 512 + 4 * 4

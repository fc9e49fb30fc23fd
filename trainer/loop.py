"""The training loop: accumulation, clipping, schedule, checkpoints, resume. It knows no algorithm."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from trainer.batches import BatchPlan
from trainer.checkpoints import Checkpoints
from trainer.errors import InvalidInput, Stopped
from trainer.processes import Placed, StepMetrics, clip_gradients, deal, make_accelerator, sum_gradients
from trainer.recipe import Model, Run
from trainer.resuming import restore, seed_everything, snapshot
from trainer.schedule import OptimizerSettings, check_finite, learning_rate, make_adam, take_step

Row = TypeVar("Row")


class BatchSettings(Model):
    """Rows per optimiser step, and how many of them go through the model at once."""

    size: int = Field(128, ge=1, le=1_000_000)
    micro: int | None = Field(None, ge=1, le=1_000_000)
    """Per process. None: the whole batch at once, shared out among the processes."""


class CheckpointSettings(Model):
    """How often a resumable state is written."""

    every_steps: int = Field(100, ge=1)


class Schedule(Model):
    """How long to train: ``max_steps`` where given, else ``epochs``."""

    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)

    def steps(self, per_epoch: int) -> int:
        """Optimiser steps in all, the last one begun being finished."""
        return self.max_steps or max(math.ceil(round(self.epochs * per_epoch, 6)), 1)


class Learner(ABC, Generic[Row]):
    """What one algorithm tells the loop. It owns the networks; the loop owns the order of events."""

    trained: nn.Module
    """The network whose parameters the loop's optimiser moves.

    The loop may replace it, while it trains, by a wrapper that several processes or lower precision need: forwards of
    training must call this, as a module.
    """

    @abstractmethod
    def backward(self, rows: Sequence[Row], share: float, *, last: bool) -> Mapping[str, float | Tensor]:
        """Accumulate gradients of one micro-batch, whose part of the batch is ``share``; return metrics with ``loss``.

        ``last`` marks the micro-batch after which the optimiser steps. Metrics are means over the micro-batch; those
        left on their device are fetched once per step.
        """

    def begin(self, micro_batches: Sequence[tuple[Sequence[Row], float]]) -> None:
        """Called once per optimiser step, before the first ``backward``, with the rows and share of each to come.

        Every process is given as many micro-batches; one whose share is 0 counts nothing.
        """

    def weight(self, row: Row) -> float:
        """A row's weight in its batch; 1 where rows count equally, its tokens where tokens do."""
        return 1.0

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, beyond the trained network and its optimiser, that a resume needs."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""


def optimise(
    learner: Learner[Row],
    rows: Sequence[Row],
    lengths: Sequence[int],
    *,
    optimizer: OptimizerSettings,
    batch: BatchSettings,
    duration: Schedule,
    checkpoint: CheckpointSettings,
    seed: int,
    run: Run,
    compute_dtype: torch.dtype = torch.float32,
) -> int:
    """Train until the duration is over, continuing from the run's last checkpoint; return the number of steps.

    Every process that trains must call it with the same arguments; afterwards each holds the whole trained network.
    Raises Stopped, after a checkpoint, where a stop was requested, and RunFailed at a loss or gradient that is not
    finite, before it reaches the weights.
    """
    if not rows:
        raise InvalidInput("there are no training rows")
    plan = BatchPlan(lengths, batch.size, seed)
    total = duration.steps(plan.steps_per_epoch)
    accelerator = make_accelerator(compute_dtype)
    adam = make_adam(learner.trained, optimizer)
    placed = Placed(accelerator, learner.trained, adam)
    network = learner.trained = placed.wrapped
    checkpoints = Checkpoints(run.directory)
    seed_everything(seed, accelerator.process_index)
    step = 0
    if (state := checkpoints.latest()) is not None:
        step = restore(state, network, adam, accelerator.process_index)
        learner.restore(state["learner"])
    saved = step
    while step < total:
        started = time.monotonic()
        parts = deal(plan[step], batch.micro, lambda index: learner.weight(rows[index]), accelerator)
        learner.begin([([rows[index] for index in indices], share) for indices, share in parts])
        sums = StepMetrics()
        for position, (indices, share) in enumerate(parts, start=1):
            last = position == len(parts)
            with nullcontext() if last else accelerator.no_sync(network):
                sums.add(learner.backward([rows[index] for index in indices], share, last=last), share)
        sum_gradients(network, accelerator)
        norm = clip_gradients(network, optimizer.max_grad_norm)
        metrics, stop = sums.gather(run.reporter.stop_requested())
        metrics["grad_norm"] = float(norm)
        metrics["learning_rate"] = learning_rate(step, total, optimizer)
        check_finite(
            {"loss": metrics["loss"], "gradient's norm": metrics["grad_norm"]},
            f"step {step + 1}",
            f"optimizer.learning_rate (the checkpoint of step {saved} is intact)",
        )
        take_step(adam, metrics["learning_rate"])
        step += 1
        metrics["step_seconds"] = time.monotonic() - started
        run.reporter.metrics("train", step, metrics)
        run.reporter.progress("train", step, total, note=f"loss {metrics['loss']:.3f}")
        if stop or step % checkpoint.every_steps == 0 or step == total:
            state = snapshot(step, network, adam, learner.state())
            if accelerator.is_main_process:
                checkpoints.save(step, state)
            saved = step
        if stop and step < total:
            raise Stopped(f"stopped on request after step {step} of {total}; it continues from there")
    learner.trained = placed.undo()
    return total

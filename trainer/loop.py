"""The training loop: accumulation, clipping, schedule, checkpoints, resume. It knows no algorithm."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import torch
from pydantic import Field
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from trainer.batches import BatchPlan
from trainer.checkpoints import Checkpoints
from trainer.errors import InvalidInput, RunFailed, Stopped
from trainer.recipe import Model, Run

Row = TypeVar("Row")


class OptimizerSettings(Model):
    """AdamW and its schedule."""

    learning_rate: float = Field(5e-7, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay after warm-up, to zero at the last step."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of AdamW's two moments; a second of 0.98 suits short runs from scratch."""
    max_grad_norm: float = Field(1.0, gt=0)


class BatchSettings(Model):
    """Rows per optimiser step, and how many of them go through the model at once."""

    size: int = Field(128, ge=1)
    micro: int | None = Field(None, ge=1)
    """None: the whole batch at once."""


class CheckpointSettings(Model):
    """How often a resumable state is written."""

    every_steps: int = Field(100, ge=1)


class Schedule(Model):
    """How long to train: ``max_steps`` where given, else ``epochs``."""

    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)


class Learner(ABC, Generic[Row]):
    """What one algorithm tells the loop. It owns the networks; the loop owns the order of events."""

    trained: nn.Module
    """The network whose parameters the loop's optimiser moves."""

    @abstractmethod
    def backward(self, rows: Sequence[Row], share: float, *, last: bool) -> dict[str, float]:
        """Accumulate gradients of one micro-batch, whose part of the batch is ``share``; return metrics with ``loss``.

        ``last`` marks the micro-batch after which the optimiser steps.
        """

    def begin(self, micro_batches: Sequence[Sequence[Row]]) -> None:
        """Called once per optimiser step, before the first ``backward``, with all that this process is going to see."""

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
) -> int:
    """Train until the duration is over, continuing from the run's last checkpoint; return the number of steps.

    Raises Stopped, after a checkpoint, where a stop was requested, and RunFailed at a loss or gradient that is not
    finite, before it reaches the weights.
    """
    if not rows:
        raise InvalidInput("there are no training rows")
    plan = BatchPlan(lengths, batch.size, seed)
    total = duration.max_steps or max(math.ceil(duration.epochs * plan.steps_per_epoch), 1)
    adam = torch.optim.AdamW(
        [parameter for parameter in learner.trained.parameters() if parameter.requires_grad],
        lr=optimizer.learning_rate,
        betas=optimizer.betas,
        weight_decay=optimizer.weight_decay,
    )
    schedule = LambdaLR(adam, lambda step: _factor(step, total, optimizer))
    checkpoints = Checkpoints(run.directory)
    torch.manual_seed(seed)
    step = _restore(checkpoints.latest(), learner, adam, schedule)
    saved = step
    while step < total:
        started = time.monotonic()
        indices = plan[step]
        chunks = [
            indices[i : i + (batch.micro or len(indices))] for i in range(0, len(indices), batch.micro or len(indices))
        ]
        weights = [sum(learner.weight(rows[i]) for i in chunk) for chunk in chunks]
        shares = [weight / sum(weights) for weight in weights]
        metrics: dict[str, float] = {}
        learner.begin([[rows[i] for i in chunk] for chunk in chunks])
        for position, (chunk, share) in enumerate(zip(chunks, shares, strict=True)):
            part = learner.backward([rows[i] for i in chunk], share, last=position == len(chunks) - 1)
            for name, value in part.items():
                metrics[name] = metrics.get(name, 0.0) + share * value
        metrics["grad_norm"] = float(nn.utils.clip_grad_norm_(learner.trained.parameters(), optimizer.max_grad_norm))
        for name, what in (("loss", "loss"), ("grad_norm", "gradient's norm")):
            if not math.isfinite(metrics[name]):
                raise RunFailed(
                    f"the {what} is {metrics[name]} at step {step + 1}; lower optimizer.learning_rate"
                    f" (the checkpoint of step {saved} is intact)"
                )
        metrics["learning_rate"] = float(schedule.get_last_lr()[0])
        adam.step()
        schedule.step()
        adam.zero_grad(set_to_none=True)
        step += 1
        metrics["step_seconds"] = time.monotonic() - started
        run.reporter.metrics("train", step, metrics)
        run.reporter.progress("train", step, total, note=f"loss {metrics['loss']:.3f}")
        stop = run.reporter.stop_requested()
        if stop or step % checkpoint.every_steps == 0 or step == total:
            checkpoints.save(step, _snapshot(step, learner, adam, schedule))
            saved = step
        if stop and step < total:
            raise Stopped(f"stopped on request after step {step} of {total}; it continues from there")
    return total


def _factor(step: int, total: int, settings: OptimizerSettings) -> float:
    """Learning rate at ``step`` as a share of its peak."""
    warmup = settings.warmup_fraction * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(total - warmup, 1)
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return 1 - progress
        case "constant":
            return 1.0


def _snapshot(step: int, learner: Learner[Row], adam: torch.optim.Optimizer, schedule: LambdaLR) -> dict[str, Any]:
    return {
        "step": step,
        "trained": learner.trained.state_dict(),
        "optimizer": adam.state_dict(),
        "schedule": {"last_epoch": schedule.last_epoch},
        "learner": learner.state(),
        "rng": torch.get_rng_state(),
    }


def _restore(
    state: dict[str, Any] | None, learner: Learner[Row], adam: torch.optim.Optimizer, schedule: LambdaLR
) -> int:
    if state is None:
        return 0
    learner.trained.load_state_dict(state["trained"])
    adam.load_state_dict(state["optimizer"])
    schedule.last_epoch = state["schedule"]["last_epoch"]
    schedule._last_lr = [group["lr"] for group in adam.param_groups]
    learner.restore(state["learner"])
    torch.set_rng_state(state["rng"])
    return int(state["step"])

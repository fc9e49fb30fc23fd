"""The learning rate agrees with transformers' schedules at every step; AdamW is over what is trainable."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from trainer.schedule import OptimizerSettings, learning_rate, make_adam

THEIRS: dict[str, Callable[[torch.optim.Optimizer, int, int], LambdaLR]] = {
    "cosine": get_cosine_schedule_with_warmup,
    "linear": get_linear_schedule_with_warmup,
    "constant": lambda optimizer, warmup, _: get_constant_schedule_with_warmup(optimizer, warmup),
}


@pytest.mark.parametrize("schedule", THEIRS)
@pytest.mark.parametrize(("total", "fraction"), [(486, 0.1), (20, 0.1), (7, 0.0), (1, 0.1), (13, 0.5)])
def test_every_step_has_the_rate_that_transformers_gives_it(schedule: str, total: int, fraction: float) -> None:
    settings = OptimizerSettings(learning_rate=5e-7, schedule=schedule, warmup_fraction=fraction)  # type: ignore[arg-type]
    adam = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=5e-7)
    theirs = THEIRS[schedule](adam, math.ceil(total * fraction), total)
    for step in range(total):
        assert learning_rate(step, total, settings) == pytest.approx(adam.param_groups[0]["lr"], rel=1e-12, abs=1e-20)
        adam.step()
        theirs.step()


def test_ten_steps_of_cosine_with_two_of_warm_up() -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_fraction=0.2)
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates[:3] == [0.0, 0.5, 1.0]
    assert rates[6] == pytest.approx(0.5)  # half of the eight steps of decay
    assert rates[9] == pytest.approx(0.5 * (1 - math.cos(math.pi / 8)))


def test_what_is_frozen_has_no_moments() -> None:
    network = nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 1))
    adam = make_adam(network, OptimizerSettings())
    assert [parameter.shape for parameter in adam.param_groups[0]["params"]] == [(1, 3), (1,)]

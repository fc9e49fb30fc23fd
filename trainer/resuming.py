"""All that a run must remember to continue as if it had never ended: weights, moments, random states."""

import random
from typing import Any

import numpy
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False)
"""However the weights are spread, a state holds them whole; frozen ones are where they came from."""


def seed_everything(seed: int, rank: int) -> None:
    """Start the random generators; those of different processes differ."""
    torch.manual_seed(seed + rank)  # of the CPU and all GPUs
    random.seed(seed + rank)
    numpy.random.seed((seed + rank) % 2**32)


def snapshot(
    step: int, network: nn.Module, optimizer: torch.optim.Optimizer, learner: dict[str, Any]
) -> dict[str, Any]:
    """The state after ``step`` steps, whole on the first process. Every process must call it."""
    trained, moments = get_state_dict(network, optimizer, options=_WHOLE)
    return {
        "step": step,
        "trained": trained,
        "optimizer": moments,
        "learner": learner,
        "random": gather_object([_random_state()]),
    }


def restore(state: dict[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer, rank: int) -> int:
    """Inverse of ``snapshot`` but for the learner's own state; return the number of steps done."""
    set_state_dict(
        network,
        optimizer,
        model_state_dict=state["trained"],
        optim_state_dict=state["optimizer"],
        options=_WHOLE,
    )
    if rank < len(state["random"]):  # a process that was not there before goes on from the seed
        _set_random_state(state["random"][rank])
    return int(state["step"])


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters that training moves."""
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def put_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Inverse of ``trained_weights``."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(weights[name])


def _random_state() -> dict[str, Any]:
    numbers = numpy.random.get_state(legacy=False)
    assert isinstance(numbers, dict)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "python": random.getstate(),
        "numpy": {**numbers, "state": {**numbers["state"], "key": numbers["state"]["key"].tolist()}},
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    random.setstate(state["python"])
    numpy.random.set_state(state["numpy"])

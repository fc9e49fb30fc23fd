"""The processes that train one model together, as `accelerate launch` started them; alone, there is one.

Every process reads the same rows, holds the same learner and reaches the same end; the first also writes.
"""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    gather_object,
    parse_flag_from_env,
)
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from trainer.errors import InvalidInput

Metrics = Mapping[str, "float | Tensor"]


def this_process() -> PartialState:
    """What accelerate knows of this process and its device; the first call joins the others, if there are any."""
    # otherwise transformers leaves weights empty on all processes but one, for accelerate to fill and, where two
    # layers share theirs, to part
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    return PartialState(cpu=_on_cpu())


def is_first() -> bool:
    """Whether this is the process that writes."""
    first: bool = this_process().is_main_process
    return first


def leave() -> None:
    """Part from the other processes, if there are any, at the end of the program."""
    this_process().destroy_process_group()


def _on_cpu() -> bool:
    """Whether the launcher said so, or there is nothing else: left alone accelerate forms no group of CPU processes."""
    return parse_flag_from_env("ACCELERATE_USE_CPU") or torch.accelerator.device_count() == 0


def make_accelerator(compute_dtype: torch.dtype) -> Accelerator:
    """Mixed precision where training computes in bfloat16; replicated or sharded as the launcher was told.

    Raises InvalidInput for the first version of FSDP, which cannot be undone after training.
    """
    this_process()
    sharded = parse_flag_from_env("ACCELERATE_USE_FSDP")
    if sharded and os.environ.get("FSDP_VERSION") != "2":
        raise InvalidInput("weights are sharded by the second version of FSDP: launch with --fsdp_version 2")
    precision = "bf16" if compute_dtype == torch.bfloat16 else "no"
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()  # the precision is one training's, not the process's
    accelerator = Accelerator(
        cpu=_on_cpu(),
        mixed_precision=precision,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    if sharded and accelerator.num_processes > 1:
        _shard(accelerator, precision)
    return accelerator


def _shard(accelerator: Accelerator, precision: str) -> None:
    # says how, as the launcher was told; keeps what it learns of a network. Told nothing, accelerate would divide the
    # network as one piece, and every process would hold all of it at once whenever it computes
    policy = os.environ.get("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    plugin = FullyShardedDataParallelPlugin(auto_wrap_policy=policy)
    if precision != "no":  # accelerate's would also sum gradients and hand out log-probabilities in bfloat16
        plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    accelerator.state.fsdp_plugin = plugin
    # accelerate shards on accelerators only, and elsewhere would replicate without a word; torch shards here as well
    accelerator.state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def deal(
    indices: Sequence[int], micro: int | None, weight: Callable[[int], float], process: PartialState
) -> list[tuple[list[int], float]]:
    """This process's rows of every micro-batch, at most ``micro`` of them, with their share of the whole batch.

    Shares sum to 1 over micro-batches and processes. Every process gets as many micro-batches as the others, for they
    meet in each; where there is no row left for it, it computes one that counts nothing.
    """
    world, rank = process.num_processes, process.process_index
    size = len(indices) if micro is None else micro * world
    total = sum(weight(index) for index in indices)
    dealt = []
    for start in range(0, len(indices), size):
        together = list(indices[start : start + size])
        mine = together[rank::world]  # not in blocks: neighbours are of like length
        dealt.append((mine or together[:1], sum(weight(index) for index in mine) / total))
    return dealt


class StepMetrics:
    """Means over the rows of one step, wherever they were computed."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float | Tensor, float]] = {}

    def add(self, metrics: Metrics, share: float) -> None:
        """Count a micro-batch's means by its share. Waits for no device."""
        for name, value in metrics.items():
            total, weight = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + share * value, weight + share)

    def gather(self, stop: bool) -> tuple[dict[str, float], bool]:
        """The means over all processes, and whether any of them wants to ``stop``. Every process must call it.

        A metric that some micro-batches did not have is the mean over those that had it.
        """
        mine = {name: (float(total), weight) for name, (total, weight) in self._sums.items()}
        sums: dict[str, list[float]] = {}
        stops = False
        for theirs, wants in gather_object([(mine, stop)]):
            stops |= wants
            for name, (total, weight) in theirs.items():
                so_far = sums.setdefault(name, [0.0, 0.0])
                so_far[0] += total
                so_far[1] += weight
        return {name: total / weight for name, (total, weight) in sums.items() if weight}, stops


def sum_gradients(network: nn.Module, process: PartialState) -> None:
    """Make the mean over processes, which replicas and shards have exchanged, the sum that shares add up to."""
    if process.num_processes > 1:
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(process.num_processes)


def clip_gradients(network: nn.Module, largest: float) -> Tensor:
    """Scale gradients down to a norm of ``largest`` over all parameters; return the norm they had."""
    return _whole(nn.utils.clip_grad_norm_(network.parameters(), largest))


class Placed:
    """A network prepared for training by several processes or in lower precision, and the way back."""

    def __init__(self, accelerator: Accelerator, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._accelerator = accelerator
        self._network = network
        self._blueprint = _blueprint(network) if accelerator.is_fsdp2 else None
        if accelerator.is_fsdp2:
            _name_layers(accelerator, network)
        self.wrapped: nn.Module
        self.wrapped, _ = accelerator.prepare(network, optimizer)

    def undo(self) -> nn.Module:
        """The network as it was handed in, with the weights it has now, whole on every process."""
        if self._blueprint is not None:
            _become(self._network, self._blueprint)
            return self._network
        network: nn.Module = self._accelerator.unwrap_model(self.wrapped, keep_fp32_wrapper=False)
        network.__dict__.pop("_is_accelerate_prepared", None)
        network.__dict__.pop("forward", None)
        return network


def _blueprint(network: nn.Module) -> nn.Module:
    """A copy without weights: sharding changes modules in place, and this is what they were."""
    empty: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        for parameter in network.parameters()
    }
    return copy.deepcopy(network, empty)


def _name_layers(accelerator: Accelerator, network: nn.Module) -> None:
    """Shard layer by layer: accelerate looks for the layers' names on the outermost module alone."""
    plugin = accelerator.state.fsdp_plugin
    if plugin.transformer_cls_names_to_wrap is None:
        names = {name for module in network.modules() for name in getattr(module, "_no_split_modules", None) or ()}
        present = {type(module).__name__ for module in network.modules()}
        plugin.transformer_cls_names_to_wrap = sorted(names & present)


@torch.no_grad()
def _become(network: nn.Module, blueprint: nn.Module) -> None:
    """Give every module of a sharded network back its class, hooks and whole weights."""
    whole: dict[int, nn.Parameter] = {}
    for module, twin in list(zip(network.modules(), blueprint.modules(), strict=True)):
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in whole:  # two layers may share theirs
                whole[id(parameter)] = nn.Parameter(_whole(parameter), parameter.requires_grad)
            twin._parameters[name] = whole[id(parameter)]
        kept = {"_buffers": module._buffers, "_modules": module._modules, "training": module.training}
        module.__class__ = type(twin)
        module.__dict__ = twin.__dict__ | kept


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

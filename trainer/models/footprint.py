"""What training a network holds in memory, found without its weights.

Parameters are counted on a network of fake tensors, which have shapes and no storage. Activations are what autograd
keeps of one forward pass of the same fake network: every tensor that any operation saves, once per storage, so any
architecture is read as it is. Two things are not modelled: buffers that live for one operation only, and an attention
kernel that keeps less than the one torch chooses on the CPU.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.models.global_attention import GlobalTokens

OUTSIDE = -1
"""Where a tensor was saved that no repeated layer saved."""


@dataclass(frozen=True)
class Activations:
    """Bytes that autograd holds between the forward and the backward pass of one micro-batch."""

    layers: tuple[int, ...]
    """Of each repeated layer."""
    inputs: int
    """Of the repeated layers' inputs, which are all that is kept of layers to be recomputed."""
    outside: int
    """Of what comes before, between and after the layers."""
    weight_copies: int
    """Of weights cast to a lower precision, one each, for as long as the pass lasts."""

    def held(self, recomputed: bool) -> int:
        """At the worst moment: everything, or with recomputation the inputs and one layer."""
        if not recomputed:
            return sum(self.layers) + self.outside
        return self.inputs + max(self.layers, default=0) + self.outside


@dataclass(frozen=True)
class Footprint:
    """A network's numbers of parameters and what a pass over a micro-batch keeps."""

    parameters: int
    trainable: int
    trainable_tensors: int
    largest_layer: int
    """Parameters of the largest repeated layer."""
    unlayered: int
    """Parameters in no repeated layer, such as embeddings."""
    activations: Activations

    @property
    def optimizer_bytes(self) -> int:
        """AdamW's: two float32 moments per trainable parameter, and a float32 count of steps per tensor."""
        return 8 * self.trainable + 4 * self.trainable_tensors


def measure_footprint(
    config: PretrainedConfig,
    build: Callable[[PretrainedConfig], PreTrainedModel],
    *,
    rows: int,
    tokens: int,
    compute_dtype: torch.dtype,
    global_tokens: int = 1,
) -> Footprint:
    """Of the network that ``build`` makes, over ``rows`` sequences of ``tokens`` tokens, all of them padded.

    The head is left out of the activations: it reads only some positions, see ``trainer.models.language_head``. Of a
    network whose other tokens see a window only (Longformer), ``global_tokens`` of each sequence see all, and sequences
    are padded to whole windows.
    """
    windows: list[int] = getattr(config, "attention_window", [])
    if windows:
        tokens = -(-tokens // max(windows)) * max(windows)
    with torch.device("meta"):  # not fake at once, for adapters cannot be added to what is
        model = build(config).train()
    with FakeTensorMode():
        _embody(model)
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        ids, mask = torch.zeros((rows, tokens), dtype=torch.long), torch.ones((rows, tokens), dtype=torch.long)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if windows:
            inputs["global_attention_mask"] = mask
        with (
            _recording(model, layers) as saved,
            torch.autocast("cpu", compute_dtype, compute_dtype != torch.float32),
            GlobalTokens(rows, global_tokens) if windows else nullcontext(),
        ):
            model.base_model(**inputs)
        sizes = [parameter.numel() for parameter in model.parameters()]
        moved = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
        per_layer = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    return Footprint(
        parameters=sum(sizes),
        trainable=sum(moved),
        trainable_tensors=len(moved),
        largest_layer=max(per_layer, default=0),
        unlayered=sum(sizes) - sum(per_layer),
        activations=saved(),
    )


def measure_held(config: PretrainedConfig, build: Callable[[PretrainedConfig], PreTrainedModel]) -> int:
    """Bytes that training the network holds at any moment: float32 weights, gradients and AdamW's two moments.

    No pass is made, so it takes a moment and works for every architecture that can be built.
    """
    with torch.device("meta"):
        parameters = list(build(config).parameters())
    return sum(parameter.numel() * (16 if parameter.requires_grad else 4) for parameter in parameters)


def measure_cache(
    config: PretrainedConfig,
    build: Callable[[PretrainedConfig], PreTrainedModel],
    *,
    tokens: int,
    compute_dtype: torch.dtype,
) -> int:
    """Bytes of keys and values that decoding keeps of one sequence of ``tokens`` tokens."""
    with torch.device("meta"):
        model = build(config).eval()
    with FakeTensorMode(), torch.no_grad(), torch.autocast("cpu", compute_dtype, compute_dtype != torch.float32):
        _embody(model)
        cache = DynamicCache(config=config)
        ids = torch.zeros((1, tokens), dtype=torch.long)
        model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        return sum(held.nbytes for layer in cache.layers for held in (layer.keys, layer.values))


def _embody(model: nn.Module) -> None:
    """Put an empty tensor of this place in the place of each of the model's; what was shared stays shared."""
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype), parameter.requires_grad)
            setattr(module, name, made.setdefault(id(parameter), empty))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, made.setdefault(id(buffer), torch.empty(buffer.shape, dtype=buffer.dtype)))


@dataclass(frozen=True)
class NetworkBytes:
    """A small network that is trained beside, in float32."""

    parameters: int
    trainable: int
    activations: int


def measure_network(build: Callable[[], nn.Module], run: Callable[[nn.Module], Tensor]) -> NetworkBytes:
    """Of any module: its parameters, and the bytes that ``run(module)`` keeps for the backward pass."""
    with FakeTensorMode():
        module = build()
        with _recording(module, []) as saved:
            run(module)
        parameters = list(module.parameters())
    return NetworkBytes(
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        saved().outside,
    )


@contextmanager
def _recording(network: nn.Module, layers: list[GradientCheckpointingLayer]) -> Iterator[Callable[[], Activations]]:
    """Within, note what autograd saves and which layer made it do so; what it yields tells the sums."""
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    saved: dict[int, tuple[int, int, Tensor]] = {}  # the tensors too: a freed storage's identity is given away again
    copies: dict[int, tuple[int, Tensor]] = {}
    inputs: list[int] = []
    where = [OUTSIDE]

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata in parameters:
            return tensor
        if _is_cast_weight(tensor):
            copies.setdefault(storage._cdata, (storage.nbytes(), tensor))
        else:
            saved.setdefault(storage._cdata, (storage.nbytes(), where[-1], tensor))
        return tensor

    def enter(number: int) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            where.append(number)
            inputs.append(sum(value.untyped_storage().nbytes() for value in arguments if isinstance(value, Tensor)))

        return hook

    def leave(*_: Any) -> None:  # noqa: ANN401 - a hook's arguments
        where.pop()

    hooks = [layer.register_forward_pre_hook(enter(number)) for number, layer in enumerate(layers)]
    hooks += [layer.register_forward_hook(leave) for layer in layers]

    def sums() -> Activations:
        per_layer: Counter[int] = Counter()
        for size, number, _ in saved.values():
            per_layer[number] += size
        return Activations(
            layers=tuple(per_layer[number] for number in range(len(layers))),
            inputs=sum(inputs),
            outside=per_layer[OUTSIDE],
            weight_copies=sum(size for size, _ in copies.values()),
        )

    try:
        with saved_tensors_hooks(note, lambda tensor: tensor):
            yield sums
    finally:
        for hook in hooks:
            hook.remove()


def _is_cast_weight(tensor: Tensor) -> bool:
    """Whether this is a parameter in another precision: autograd knows what a cast came from."""
    whole = tensor._base if tensor._is_view() and tensor._base is not None else tensor
    cast = whole.grad_fn
    if cast is None or not cast.name().startswith("ToCopyBackward"):
        return False
    return hasattr(cast.next_functions[0][0], "variable")

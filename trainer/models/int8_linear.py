"""Linear layers that multiply 8-bit integers on a CPU, for the encoder of a reward model.

Vector-wise absmax quantisation, X W^T ~ diag(s_x) (X_8 W_8^T) diag(s_w), with a scale for each row of X, taken as it
comes, and of W (Dettmers et al. 2022, "LLM.int8()", arXiv 2208.07339, section 2.1). Plain int8 tensors and
``torch._int_mm``, on which torchao's eager mode stands too: ``torch.ao.quantization`` and the dtype ``qint8`` are
deprecated, and warn.

A row's product is exact and its own, yet a score is not: where float arithmetic ends a bit apart, which it does with
another padding, a value can round to the next integer, and layers make of one such step as large an error as
quantising itself has. So a quantised model reads every pair alone, in the one shape it ever has.
"""

from functools import cache

import torch
from torch import Tensor, nn

from trainer.errors import Conflict

_LARGEST = 127
_TINY = 1e-30
"""In place of the largest value of a row of zeros."""


class Int8Linear(nn.Module):
    """A linear layer's weights as integers (out, in), with a scale for each row of them."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, scale = _quantised(layer.weight.detach())
        own: Tensor | None = layer.bias
        bias = torch.zeros(layer.out_features) if own is None else own.detach().clone()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b of floats (..., in), as floats (..., out)."""
        rows, scale = _quantised(x.flatten(0, -2))
        products = torch._int_mm(rows, self.weight.t()).to(x.dtype)
        return torch.addcmul(self.bias, products.mul_(scale), self.scale).view(*x.shape[:-1], -1)


def quantise_linears(network: nn.Module, *, but: str) -> int:
    """Have the plain linear layers of ``network`` multiply integers, ``but`` those whose names begin like this.

    Returns how many there are.
    """
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if type(layer) is nn.Linear and not name.startswith(but)
    ]
    for name, layer in layers:
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, Int8Linear(layer))
    return len(layers)


def check_device(device: torch.device, original: str) -> None:
    """Raises Conflict where integers cannot be multiplied, saying that ``original`` can be asked in their place."""
    if device.type != "cpu":
        raise Conflict(f"8-bit versions score on a CPU only, so that they score alike; on a GPU ask {original}")
    if not _is_exact():
        raise Conflict(
            f"this CPU multiplies 8-bit integers inexactly (it has no VNNI), so scores would differ; ask {original}"
        )


@cache
def _is_exact() -> bool:
    """Whether products of the largest values come out right: before VNNI, sums of two saturate at 16 bits."""
    largest = torch.full((4, 64), _LARGEST, dtype=torch.int8)
    return bool((torch._int_mm(largest, -largest.t()) == -64 * _LARGEST**2).all())


def _quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, m) as integers and the scale of each (n, 1): its largest absolute value is 127 of them."""
    largest = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True)).clamp_min_(_TINY)
    return (rows * (_LARGEST / largest)).round_().to(torch.int8), largest / _LARGEST

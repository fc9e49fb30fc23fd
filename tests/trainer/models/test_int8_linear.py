"""Linear layers in 8 bits: each row has its own scale, products are exact, inexact machines are refused."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import Conflict
from trainer.models import int8_linear
from trainer.models.int8_linear import Int8Linear, check_device, quantise_linears


def linear(weight: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    layer.weight.data = torch.tensor(weight)
    if bias is not None:
        layer.bias.data = torch.tensor(bias)
    return layer


def test_the_largest_value_of_a_row_is_127_and_halves_round_to_even() -> None:
    layer = Int8Linear(linear([[2.0, 1.0], [-0.25, 0.125]], [0.25, 0.0]))

    # x is 127 and -63.5 of 1/127; the weights are 127 and 63.5 of 2/127, -127 and 63.5 of 0.25/127
    assert layer.weight.tolist() == [[127, 64], [-127, 64]]
    first = 0.25 + (127 * 127 - 64 * 64) * 2 / 127**2
    second = (-127 * 127 - 64 * 64) * 0.25 / 127**2
    assert layer(torch.tensor([[1.0, -0.5]]))[0].tolist() == pytest.approx([first, second], abs=1e-6)


def test_a_row_is_the_same_bits_whatever_stands_beside_it() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(37, 11))
    row = torch.randn(1, 37)

    assert torch.equal(layer(torch.cat([1000 * torch.randn(5, 37), row]))[5:], layer(row))


def test_a_row_of_zeros_gives_the_bias_and_any_leading_shape_is_kept() -> None:
    layer = Int8Linear(linear([[1.0, 2.0]], [0.5]))

    assert layer(torch.zeros(2, 3, 2)).tolist() == [[[0.5]] * 3] * 2
    assert Int8Linear(linear([[1.0, 2.0]]))(torch.zeros(1, 2)).tolist() == [[0.0]]


def test_only_plain_linear_layers_are_replaced_and_not_those_left_out() -> None:
    network = nn.ModuleDict({"body": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "head": nn.Linear(2, 1)})

    assert quantise_linears(network, but="head") == 1
    assert [type(module).__name__ for module in network.modules()] == [
        "ModuleDict", "Sequential", "Int8Linear", "LayerNorm", "Linear",
    ]  # fmt: skip


def test_a_gpu_is_refused_with_what_to_ask_instead() -> None:
    with pytest.raises(Conflict, match=r"on a GPU ask rm@1"):
        check_device(torch.device("cuda"), "rm@1")


@pytest.fixture
def saturating(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Products as a CPU without VNNI makes them: the left side shifted above zero, sums of two that stop at 16 bits."""

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        products = (left.int() + 128)[:, :, None] * right.int()[None]
        sums = products.unflatten(1, (-1, 2)).sum(2).clamp(-(2**15), 2**15 - 1).sum(1)
        return sums - 128 * right.int().sum(0)

    monkeypatch.setattr(torch, "_int_mm", multiply)
    int8_linear._is_exact.cache_clear()
    yield
    int8_linear._is_exact.cache_clear()


@pytest.mark.usefixtures("saturating")
def test_a_cpu_whose_products_saturate_is_refused() -> None:
    with pytest.raises(Conflict, match=r"inexactly .* ask rm@1"):
        check_device(torch.device("cpu"), "rm@1")

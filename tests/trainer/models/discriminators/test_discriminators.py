"""Every discriminator: blind to padding, small when fresh, the same function between steps, float32 throughout."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from trainer.models.discriminators import (
    AnyDiscriminator,
    Discriminator,
    LastTokenDiscriminator,
    LinearDiscriminator,
    MLPDiscriminator,
    RandomDiscriminator,
    TransformerDiscriminator,
    latent_distance,
)
from trainer.models.discriminators.contract import SpectralLinear
from trainer.models.latents import Latents

CONFIGS = {
    "transformer": TransformerDiscriminator(width=16, layers=2, heads=2, positions=16),
    "mlp": MLPDiscriminator(width=16),
    "linear": LinearDiscriminator(),
    "last_token": LastTokenDiscriminator(width=16),
    "random": RandomDiscriminator(of=TransformerDiscriminator(width=16, layers=1, heads=2, positions=16)),
}


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> Discriminator:
    torch.manual_seed(0)
    return CONFIGS[request.param].build(8)


def sample(batch: int, length: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(batch, length, 8, generator=torch.Generator().manual_seed(5))


def ones(batch: int, length: int) -> torch.Tensor:
    return torch.ones(batch, length, dtype=torch.bool)


def test_padding_does_not_move_a_logit(network: Discriminator) -> None:
    """Half of two rows is padding, whatever stands there; beside them is a row without any."""
    hidden = sample(2, 3)
    padded = torch.cat([hidden, torch.full((2, 3, 8), 700.0)], dim=1)
    padded = torch.cat([padded, sample(1, 6)])
    mask = torch.cat([ones(2, 3), ~ones(2, 3)], dim=1)
    mask = torch.cat([mask, ones(1, 6)])
    assert (network(padded, mask)[:2] - network(hidden, ones(2, 3))).abs().max() <= 1e-5


def test_what_is_read_moves_a_logit(network: Discriminator) -> None:
    logits = network(sample(6, 3), ones(6, 3))
    assert logits.shape == (6,)
    assert logits.std() > 1e-3


def test_a_fresh_network_gives_small_logits(network: Discriminator) -> None:
    assert network(sample(32, 6), ones(32, 6)).abs().max() < 20


def test_logits_are_float32_and_exact_under_autocast(network: Discriminator) -> None:
    hidden = sample(4, 3).bfloat16()
    plain = network(hidden.float(), ones(4, 3))
    with torch.autocast("cpu", torch.bfloat16):
        inside = network(hidden, ones(4, 3))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, plain)


def test_a_network_is_one_function_until_its_norms_iterate(network: Discriminator) -> None:
    network.train()
    hidden = sample(4, 3)
    assert torch.equal(network(hidden, ones(4, 3)), network(hidden, ones(4, 3)))


def test_a_backward_survives_an_iteration_after_its_forward(network: Discriminator) -> None:
    network.requires_grad_(True)
    loss = network(sample(4, 3), ones(4, 3)).sum()
    network.iterate_norms()
    loss.backward()
    assert all(torch.isfinite(each.grad).all() for each in network.parameters() if each.grad is not None)


def test_a_spectral_map_has_a_largest_singular_value_of_one() -> None:
    torch.manual_seed(0)
    linear = SpectralLinear(24, 16)
    with torch.no_grad():
        assert torch.linalg.matrix_norm(linear.weight, 2) > 1.2
        image = linear(torch.eye(24)) - linear.bias
        assert torch.linalg.matrix_norm(image, 2).item() == pytest.approx(1.0, abs=0.02)
        linear.weight.mul_(3)
        for _ in range(50):
            linear.iterate()
        assert torch.linalg.matrix_norm(linear(torch.eye(24)), 2).item() == pytest.approx(1.0, abs=1e-4)


def test_the_transformer_is_that_of_figure_10() -> None:
    """Against torch's own encoder with the same weights: pre-norm, GELU, feed-forward 4x, no norm after the last."""
    torch.manual_seed(0)
    network: Any = CONFIGS["transformer"].build(8).eval()
    layer = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    for theirs, ours in zip(encoder.layers, network.layers, strict=True):
        theirs.self_attn.in_proj_weight.data = ours.qkv.weight.data  # type: ignore[union-attr]
        theirs.self_attn.in_proj_bias.data = ours.qkv.bias.data  # type: ignore[union-attr]
        for one, other in [
            (theirs.self_attn.out_proj, ours.out),  # type: ignore[union-attr]
            (theirs.linear1, ours.up),
            (theirs.linear2, ours.down),
            (theirs.norm1, ours.norm_attention),
            (theirs.norm2, ours.norm_feed),
        ]:
            one.load_state_dict(other.state_dict())  # type: ignore[operator, union-attr]
    hidden, mask = sample(3, 5), ones(3, 5)
    mask[1, 3:] = False
    with torch.no_grad():
        x = network.project(hidden) + network.positions.weight[:5]
        x = encoder(x, src_key_padding_mask=~mask)
        kept = x * mask[..., None]
        expected = network.head(kept.sum(dim=1) / mask.sum(dim=1, keepdim=True))[:, 0]
        assert (network(hidden, mask) - expected).abs().max() <= 1e-5


def test_a_text_longer_than_the_positions_has_a_logit() -> None:
    network = CONFIGS["transformer"].build(8)
    assert torch.isfinite(network(sample(2, 40), ones(2, 40))).all()


def test_dropout_is_the_transformers_own_and_off_outside_training() -> None:
    torch.manual_seed(0)
    network = TransformerDiscriminator(width=16, heads=2, dropout=0.5).build(8).train()
    hidden = sample(4, 3)
    assert not torch.equal(network(hidden, ones(4, 3)), network(hidden, ones(4, 3)))
    network.eval()
    assert torch.equal(network(hidden, ones(4, 3)), network(hidden, ones(4, 3)))


def test_last_token_reads_the_last_token_under_the_mask_and_the_mean_readers_any_order() -> None:
    hidden, mask = sample(1, 4), ones(1, 4)
    mask[0, 3] = False
    last, mean = LastTokenDiscriminator(width=16).build(8), MLPDiscriminator(width=16).build(8)
    other = hidden.clone()
    other[:, :2] = 9.0
    assert torch.equal(last(hidden, mask), last(other, mask))
    assert not torch.allclose(last(hidden, mask), last(hidden, ones(1, 4)))
    assert torch.allclose(mean(hidden, ones(1, 4)), mean(hidden.flip(1), ones(1, 4)), atol=1e-6)


def test_the_latent_distance_by_hand() -> None:
    """Two features; rows of 2 tokens and of 1. |1|^2 + |3|^2 = 10 over 2, |2|^2 + 0 = 4 over 2: mean 3.5; and 8 / 2."""
    policy = torch.tensor([[[1.0, 3.0], [2.0, 0.0]], [[2.0, 2.0], [float("inf"), 0.0]]], requires_grad=True)
    reference = torch.zeros(2, 2, 2, requires_grad=True)
    mask = torch.tensor([[True, True], [True, False]])
    distance = latent_distance(Latents(policy, mask), Latents(reference, mask))
    assert distance.tolist() == [3.5, 4.0]
    distance.sum().backward()
    assert reference.grad is None


def test_random_weights_are_frozen() -> None:
    assert not any(parameter.requires_grad for parameter in CONFIGS["random"].build(8).parameters())


@pytest.mark.parametrize("content", [{"kind": name} for name in (*CONFIGS, "mse")])
def test_kinds_are_told_apart_by_name(content: dict[str, Any]) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyDiscriminator)
    config = adapter.validate_python(content)
    assert config.kind == content["kind"]
    assert adapter.validate_json(config.model_dump_json()) == config
    nested = adapter.validate_python({"kind": "random", "of": {"kind": "mlp", "width": 3}})
    assert nested.of == MLPDiscriminator(width=3)


def test_heads_that_cannot_share_the_width_are_refused() -> None:
    with pytest.raises(ValidationError, match="evenly among 3 heads"):
        TransformerDiscriminator(width=16, heads=3)

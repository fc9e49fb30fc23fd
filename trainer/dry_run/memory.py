"""How much memory a recipe needs on each GPU, part by part."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from trainer.adversarial.settings import Adversarial
from trainer.models.discriminators import MSE, AnyDiscriminator
from trainer.models.footprint import Footprint, measure_footprint, measure_network
from trainer.models.language_head import CHUNK_LOGITS, CHUNK_ROWS
from trainer.recipe import Model


class MemoryEstimate(Model):
    """Bytes on one GPU at the worst moment of a step, every row being as long as the recipe allows.

    With P parameters, T of them trained, W processes and c bytes per computed number (2 in bfloat16, 4 in float32):

    - weights: 4 P, and under mixed precision the copies in c bytes that a pass makes; sharded: 4 P / W, and in c bytes
      whatever belongs to no layer, and two layers: the one at work and the next;
    - gradients: 4 T; sharded: 4 T / W, and c T where micro-batches accumulate, for shards are exchanged at the last;
    - optimizer: AdamW's two moments, 8 T, and its counts of steps; sharded: that / W;
    - reference: c P for a frozen copy; nothing for adapters switched off or what was computed before;
    - discriminators: two, each 4 bytes per parameter and 12 more per trained one, and what their pass keeps;
    - activations: what autograd saves of one micro-batch, counted on the network itself (``models.footprint``);
    - logits: what the chunked head holds (``models.language_head``), with its weight's cast and gradient.

    Left out: buffers that live for one operation only, the allocator's fragmentation and the driver's own memory.
    Measured on the CPU with small Llama and Gemma-2 shapes, whole and with adapters, a pass took 0.93 to 1.12 of
    what is said here where activations were kept and 0.74 to 1.24 where they were recomputed.
    """

    weights: int
    gradients: int
    optimizer: int
    reference: int
    discriminators: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All parts, though not all are largest at the same moment."""
        return sum(size for _, size in self)


class MemoryPlan(Model):
    """An estimate, and what it would be with activations kept or recomputed."""

    sharded: bool
    """Whether weights, gradients and moments are divided among the processes (FSDP) or each has all (DDP)."""
    processes: int
    estimate: MemoryEstimate
    total: int
    activations_kept: int
    activations_recomputed: int
    """Under ``gradient_checkpointing``."""


@dataclass(frozen=True)
class Passes:
    """What one optimiser step computes on one process."""

    config: PretrainedConfig
    build: Callable[[PretrainedConfig], PreTrainedModel]
    rows: int
    """Sequences in one pass of the trained network."""
    tokens: int
    """Of the longest sequence."""
    response_tokens: int
    """Of the longest response."""
    compute_dtype: torch.dtype
    predicts: bool
    """Whether log-probabilities of responses are computed."""
    copied_reference: bool
    adversarial: Adversarial | None
    recomputes: bool
    accumulates: bool
    """Whether a step has several micro-batches."""
    processes: int
    global_tokens: int = 1
    """Of each sequence, where the network's other tokens see a window only (Longformer)."""

    @cached_property
    def footprint(self) -> Footprint:
        return measure_footprint(
            self.config,
            self.build,
            rows=self.rows,
            tokens=self.tokens,
            compute_dtype=self.compute_dtype,
            global_tokens=self.global_tokens,
        )


def estimate_memory(passes: Passes) -> list[MemoryPlan]:
    """With everything on every process and, where there are several, with weights sharded among them."""
    return [_plan(passes, sharded) for sharded in ((False, True) if passes.processes > 1 else (False,))]


def _plan(passes: Passes, sharded: bool) -> MemoryPlan:
    network, kept = passes.footprint, passes.footprint.activations
    number = passes.compute_dtype.itemsize
    shards = passes.processes if sharded else 1
    gathered = number * (network.unlayered + 2 * network.largest_layer) if sharded else kept.weight_copies
    unexchanged = number * network.trainable if sharded and passes.accumulates else 0
    estimate = MemoryEstimate(
        weights=math.ceil(4 * network.parameters / shards) + gathered,
        gradients=math.ceil(4 * network.trainable / shards) + unexchanged,
        optimizer=math.ceil(network.optimizer_bytes / shards),
        reference=number * network.parameters if passes.copied_reference else 0,
        discriminators=_discriminator_bytes(passes),
        activations=kept.held(passes.recomputes),
        logits=logits_bytes(passes) if passes.predicts else 0,
    )
    return MemoryPlan(
        sharded=sharded,
        processes=passes.processes,
        estimate=estimate,
        total=estimate.total,
        activations_kept=kept.held(recomputed=False),
        activations_recomputed=kept.held(recomputed=True),
    )


def logits_bytes(passes: Passes) -> int:
    """One chunk's logits, their slope where they are capped and their gradient; the head's cast, its gradient in
    float32 and the product added to it; and the hidden states at response positions, saved for the backward pass."""
    config = passes.config
    vocabulary, hidden_size = int(config.vocab_size), int(config.hidden_size)
    number, mixed = passes.compute_dtype.itemsize, passes.compute_dtype != torch.float32
    positions = passes.rows * passes.response_tokens
    chunk = min(positions, max(CHUNK_ROWS, CHUNK_LOGITS // vocabulary)) * vocabulary
    capped = getattr(config, "final_logit_softcapping", None) is not None
    per_weight = number if mixed else 0
    if passes.footprint.trainable == passes.footprint.parameters:  # adapters leave the head alone
        per_weight += 4 + (number if mixed else 0)
    head = per_weight * vocabulary * hidden_size
    return chunk * (4 * (1 + capped) + (number if mixed else 0)) + head + positions * hidden_size * number


def _discriminator_bytes(passes: Passes) -> int:
    """Weights, gradients and moments of both, and what both keep of a pass over their three sets of latents."""
    if passes.adversarial is None or isinstance(passes.adversarial.discriminator, MSE):
        return 0
    whole = passes.adversarial.mask == "prompt_and_response"
    shape = (3 * passes.rows // 2, passes.tokens if whole else passes.response_tokens, passes.config.hidden_size)
    one = measure_network(_builder(passes.adversarial.discriminator, shape[2]), _pass_over(shape))
    return 2 * (4 * one.parameters + 12 * one.trainable + one.activations)


def _builder(config: AnyDiscriminator, hidden_size: int) -> Callable[[], nn.Module]:
    assert not isinstance(config, MSE)
    return lambda: config.build(hidden_size)


def _pass_over(shape: tuple[int, int, int]) -> Callable[[nn.Module], Tensor]:
    def run(network: nn.Module) -> Tensor:
        output: Tensor = network(torch.zeros(shape), torch.ones(shape[:2], dtype=torch.bool))
        return output

    return run

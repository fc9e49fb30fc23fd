"""Counter-based Gumbel noise: what a token meets depends on (seed, prompt, replicate, step, token) and nothing else.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), keyed by a hash of seed and
prompt. Not depending on temperature or policy, the noise is the same across both: differences between them are
paired. Gumbel-max rather than one uniform through the inverse distribution function, because it couples better: two
distributions at total variation d choose the same token with probability at least (1 - d) / (1 + d), whatever the
order of the vocabulary.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> list[Tensor]:
    """Four words of 32 random bits for each ``counter`` (four words) and ``key`` (two), all int64, broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 products wrap around; their 64 bits are those of the unsigned product
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> 32) & _MASK ^ c1 ^ k0,
            second & _MASK,
            (first >> 32) & _MASK ^ c3 ^ k1,
            first & _MASK,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _MASK, (k1 + _KEY_STEPS[1]) & _MASK
    return [c0, c1, c2, c3]


class Noise:
    """Noise of some streams, a stream being one replicate of one prompt."""

    def __init__(self, seed: int, streams: Sequence[tuple[str, int]], device: torch.device) -> None:
        """``streams`` are (prompt id, replicate)."""
        keys = [_key(seed, prompt_id) for prompt_id, _ in streams]
        self._keys = torch.tensor(keys, dtype=torch.int64, device=device).reshape(-1, 2)
        self._replicates = torch.tensor([replicate for _, replicate in streams], dtype=torch.int64, device=device)

    def gumbel(self, stream: Tensor, step: Tensor, vocabulary: int) -> Tensor:
        """Standard Gumbel noise (n, vocabulary), float32, of streams (n,) at steps (n,).

        From 32-bit uniforms at cell centres: no draw is infinite, and probabilities below 2^-33 are never drawn.
        """
        words = self._words(stream, step, blocks=-(-vocabulary // 4), kind=0)
        bits = torch.stack(words, dim=-1).flatten(-2)[:, :vocabulary]
        return _uniform(bits).log_().neg_().log_().neg_().float()

    def uniform(self, stream: Tensor, step: Tensor) -> Tensor:
        """Uniform noise (n,) in (0, 1), float64: one draw a step, for the inverse distribution function.

        Cheaper than Gumbel noise by the size of the vocabulary, but it couples distributions less well.
        """
        return _uniform(self._words(stream, step, blocks=1, kind=1)[0][:, 0])

    def _words(self, stream: Tensor, step: Tensor, blocks: int, kind: int) -> list[Tensor]:
        """Four words of random bits, each (n, blocks)."""
        block = torch.arange(blocks, device=stream.device)
        counter = block, step[:, None], self._replicates[stream][:, None], torch.full_like(block, kind)
        key = self._keys[stream]
        return philox(counter, (key[:, :1], key[:, 1:]))


def _uniform(bits: Tensor) -> Tensor:
    return bits.double().add_(0.5).mul_(2.0**-32)


def _key(seed: int, prompt_id: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{seed}\0{prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")

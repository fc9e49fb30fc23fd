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

    def __init__(self, seed: int, streams: Sequence[tuple[str, int]], vocabulary: int, device: torch.device) -> None:
        """``streams`` are (prompt id, replicate); ``vocabulary`` is how many tokens there are to choose from."""
        keys = torch.tensor([_key(seed, prompt_id) for prompt_id, _ in streams], dtype=torch.int64, device=device)
        self._key = keys[:, None, None, 0], keys[:, None, None, 1]
        replicates = [replicate for _, replicate in streams]
        self._replicate = torch.tensor(replicates, dtype=torch.int64, device=device)[:, None, None]
        self._block = torch.arange(-(-vocabulary // 4), device=device)
        self._vocabulary = vocabulary

    def gumbel(self, first_step: int, steps: int) -> Tensor:
        """Standard Gumbel noise (streams, steps, vocabulary), float32, for ``steps`` steps from ``first_step``.

        From 32-bit uniforms at cell centres: no draw is infinite, and probabilities below 2^-33 are never drawn.
        """
        step = torch.arange(first_step, first_step + steps, device=self._block.device)[:, None]
        counter = self._block, step, self._replicate, torch.zeros_like(self._block)
        bits = torch.stack(philox(counter, self._key), dim=-1).flatten(-2)[..., : self._vocabulary]
        uniform = (bits.double() + 0.5) * 2.0**-32
        return -torch.log(-torch.log(uniform)).float()

    def uniform(self, first_step: int, steps: int) -> Tensor:
        """Uniform noise (streams, steps) in (0, 1), float64: one draw a step, for the inverse distribution function.

        Cheaper than Gumbel noise by the size of the vocabulary, but it couples distributions less well.
        """
        step = torch.arange(first_step, first_step + steps, device=self._block.device)[:, None]
        zero = torch.zeros_like(self._block[:1])
        bits = philox((zero, step, self._replicate, zero + 1), self._key)[0][..., 0]
        return (bits.double() + 0.5) * 2.0**-32


def _key(seed: int, prompt_id: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{seed}\0{prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")

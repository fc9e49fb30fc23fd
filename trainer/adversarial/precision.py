"""What the game's float32 products cost."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tensor_float32() -> Iterator[None]:
    """Within, float32 matrix products on CUDA keep 10 bits of mantissa (TF32), as convolutions do by default.

    Full float32 runs past the tensor cores: beside a policy in bfloat16 small discriminators would not be small.
    Scoring does not enter here, and no other device knows the difference.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before

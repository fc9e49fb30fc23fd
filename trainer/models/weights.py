"""Weights on disk: how much memory they take, and reading them into it."""

import math
import threading
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from trainer.artifacts import check_weight_files
from trainer.errors import BrokenArtifact

_reading = threading.Lock()
"""``from_pretrained`` replaces functions of torch and of its own classes while it works. Two of them at once would each
take the other's replacement for the original, and leave it there."""


def read_network(
    auto_model: Any,  # noqa: ANN401 - transformers is not typed
    path: Path,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """The network in ``path`` on the CPU, by one of transformers' ``AutoModel...`` classes; one thread at a time.

    Raises BrokenArtifact for pickled weights, for an adapter and for some that are missing.
    """
    check_weight_files(path)
    with _reading:
        model, info = auto_model.from_pretrained(
            path,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if missing := sorted(info["missing_keys"]):
        raise BrokenArtifact(f"{path}: its weights lack {missing[0]}, which would be random; publish it again")
    network: PreTrainedModel = model.eval()
    return network


def weight_bytes(path: Path) -> int:
    """Memory that the weights in ``path`` take once they are read as float32, from the heads of their files."""
    numbers = 0
    for file in path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            numbers += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return numbers * torch.float32.itemsize

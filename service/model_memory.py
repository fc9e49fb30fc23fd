"""How much memory models may take where the operator does not say."""

from typing import TYPE_CHECKING

from service.jobs.devices import machine_memory

if TYPE_CHECKING:
    import torch

SHARE_OF_GPU = 0.7
"""The rest is for what a batch of 65,536 tokens makes on its way through a model."""
SHARE_OF_MACHINE = 0.5
"""The rest is for batches, for the one copy of a model that is being read, and for jobs."""


def room_for_models(device: "torch.device") -> int:
    """Bytes: a share of a GPU's memory, or of that of the machine or container."""
    import torch

    if device.type == "cuda":
        return int(SHARE_OF_GPU * torch.cuda.get_device_properties(device).total_memory)
    return int(SHARE_OF_MACHINE * machine_memory())

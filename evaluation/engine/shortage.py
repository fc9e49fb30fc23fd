"""How a lack of memory shows."""

import errno

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, a device's or the machine's, for which torch has no class of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)

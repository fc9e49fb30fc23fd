"""Longformer's global attention over tensors without data.

Its layers ask the data how many tokens attend globally, and where. Tensors that have shapes only cannot say.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils._python_dispatch import TorchDispatchMode


class GlobalTokens(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, and within a mode of fake tensors, the first ``tokens`` of each of ``rows`` texts attend globally."""

    def __init__(self, rows: int, tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self._tokens = rows, tokens

    def __torch_dispatch__(
        self,
        operation: Any,  # noqa: ANN401
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if operation is torch.ops.aten.max.default and arguments[0].dtype == torch.long:
            return torch.tensor(self._tokens)  # of the texts' numbers of such tokens
        try:
            return operation(*arguments, **(options or {}))
        except (DataDependentOutputException, DynamicOutputShapeException):
            if operation is torch.ops.aten._local_scalar_dense.default:
                return True  # whether there are any
            assert operation is torch.ops.aten.nonzero.default, operation
            return torch.zeros((self._rows * self._tokens, arguments[0].dim()), dtype=torch.long)

"""Keys and values of the lines being decoded, in buffers written in place.

A cache that grows by concatenation copies everything it holds at each step, which was 70 % of the time of decoding a
small model. Here a line's tokens end at the column that all lines write next, so one step writes one column, and a
line may come or go while the others stay where they are.
"""

from typing import Self

from torch import Tensor
from transformers import Cache, DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

from trainer.errors import InvalidInput

_KEPT = {"DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"}
"""Layers of attention, and those that keep nothing: all that can be moved between lines and columns."""


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """Columns ``first`` to ``end`` of the first ``lines`` lines are what a model attends to and appends to.

    Windows of sliding attention are the mask's work: their layers keep everything here.
    """

    def __init__(self, config: PretrainedConfig, lines: int, width: int, end: int = 0) -> None:
        """Room for ``lines`` of ``width`` columns, of which ``end`` is written first.

        Raises InvalidInput for a model that keeps something other than keys and values.
        """
        kinds = [type(layer).__name__ for layer in DynamicCache(config=config).layers]
        if other := sorted(set(kinds) - _KEPT):
            raise InvalidInput(
                f"cannot sample from a {config.model_type} here: it keeps {', '.join(other)} and not keys and values "
                "alone; serve it elsewhere and give policy.base_url"
            )
        super().__init__(layers=[_SlotLayer(lines, width, end) for _ in kinds])
        self.width = width
        self.lines = lines
        self.first = end
        self._least = end
        self.unlimited = set(kinds) == {"DynamicLayer"}
        """Whether every layer attends to all that it is shown."""

    @property
    def end(self) -> int:
        """The column written next."""
        return int(self.layers[0].end)

    def show(self, lines: int, first: int) -> None:
        """Attend from column ``first`` on, in the first ``lines`` lines."""
        self.lines, self.first = lines, first
        for layer in self.layers:
            layer.show(lines, first)

    def move(self, to: Tensor, origin: Tensor, by: int = 0) -> None:
        """Copy lines ``origin`` to lines ``to``, each token ``by`` columns further to the right."""
        for layer in self.layers:
            for buffer in layer.buffers:
                buffer[to, :, self.first + by : layer.end] = buffer[origin, :, self.first : layer.end - by]

    def place(self, to: Tensor, source: Self) -> None:
        """Copy the lines of ``source`` to lines ``to``, so that they end at this cache's end."""
        if not source.end:  # nothing but prompts of one token
            return
        for layer, other in zip(self.layers, source.layers, strict=True):
            for buffer, theirs in zip(layer.reserved(other), other.buffers, strict=True):
                buffer[to, :, layer.end - other.end : layer.end] = theirs[:, :, : other.end]

    def shift(self) -> int:
        """Make room at the right by moving what is attended to to the left; returns by how many columns.

        Not so far that the longest prompt, which may still wait, would no longer fit before the column written next.
        """
        moved = min(self.first, self.end - self._least)
        for layer in self.layers:
            for buffer in layer.buffers:
                buffer[:, :, : layer.end - moved] = buffer[:, :, moved : layer.end].clone()
            layer.end -= moved
        self.show(self.lines, self.first - moved)
        return moved


class _SlotLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    def __init__(self, lines: int, width: int, end: int) -> None:
        super().__init__()
        self.end = end
        self.buffers: list[Tensor] = []
        self._size = lines, width
        self._shown = lines, end

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        lines, width = self._size
        self.dtype, self.device = key_states.dtype, key_states.device
        # zeros, because what is masked is multiplied by zero, which a NaN would survive
        self.buffers = [
            states.new_zeros(lines, states.shape[1], width, states.shape[3]) for states in (key_states, value_states)
        ]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.end + key_states.shape[2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[: len(states), :, self.end : end] = states
        self.end = end
        self.show(*self._shown)
        return self.keys, self.values

    def reserved(self, like: Self) -> list[Tensor]:
        """The buffers, made on first use in the shapes of those of ``like``."""
        if not self.is_initialized and like.is_initialized:
            self.lazy_initialization(*like.buffers)
        return self.buffers

    def show(self, lines: int, first: int) -> None:
        self._shown = lines, first
        if self.is_initialized:
            self.keys, self.values = (buffer[:lines, :, first : self.end] for buffer in self.buffers)

    def get_seq_length(self) -> int:
        return self.end - self._shown[1]

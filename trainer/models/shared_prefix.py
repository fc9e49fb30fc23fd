"""One prompt before many responses: its keys and values are computed once, and every response attends to them.

Under causal attention what a prompt's tokens become does not depend on what follows, so that nothing but rounding
changes. ``shared_prompts`` does the same for training, in one pass that gradients flow back through; there attending
costs the square of all texts together, here responses stand behind the prompt a few at a time.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from transformers import Cache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from trainer.data.text import Encoded
from trainer.models.trial import UNABLE, alike

TOGETHER_ON_CPU, TOGETHER_ON_GPU = 256, 2048
"""Response tokens of one pass. More would look at each other behind masks, fewer keep a matrix product less busy."""


def together_on(device: torch.device) -> int:
    """Response tokens of one pass."""
    return TOGETHER_ON_CPU if device.type == "cpu" else TOGETHER_ON_GPU


class ReadPrompt:
    """A prompt as one backbone read it."""

    def __init__(self, backbone: nn.Module, ids: Sequence[int], device: torch.device) -> None:
        cache = Cache(layer_class_to_replicate=DynamicLayer)
        output = backbone(input_ids=torch.tensor([ids], device=device), past_key_values=cache, use_cache=True)
        self._backbone = backbone
        self._states: Tensor = output.last_hidden_state[0]
        self._cache = Cache(layers=[_Before(layer.keys, layer.values) for layer in cache.layers])

    def hidden_states(self, responses: Sequence[Sequence[int]]) -> Tensor:
        """Last hidden states (responses, length, hidden) of the prompt and each response, zero behind its end."""
        prompt, hidden = self._states.shape
        length = prompt + max(map(len, responses))
        states = self._states.new_empty(len(responses), length, hidden)
        states[:, :prompt] = self._states
        for row, found in enumerate(self._each(responses)):
            states[row, prompt : prompt + len(found)] = found
            states[row, prompt + len(found) :] = 0
        return states

    def last_states(self, responses: Sequence[Sequence[int]]) -> Tensor:
        """Of each last token alone, (responses, hidden): copying the others would keep a small model busy."""
        return torch.stack([found[-1] if len(found) else self._states[-1] for found in self._each(responses)])

    def _each(self, responses: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        for some in _parts(responses, together_on(self._states.device)):
            yield from torch.split(self._read(some), [len(each) for each in some])

    def _read(self, responses: Sequence[Sequence[int]]) -> Tensor:
        """The same of the responses alone, one behind the other without padding: (tokens, hidden)."""
        prompt, device = len(self._states), self._states.device
        lengths = torch.tensor([len(each) for each in responses])
        text = torch.repeat_interleave(torch.arange(len(responses)), lengths)
        place = torch.arange(len(text))
        hidden_from = (text[:, None] != text) | (place[:, None] < place)
        mask = torch.zeros(1, 1, len(text), prompt + len(text), dtype=self._states.dtype)
        mask[..., prompt:].masked_fill_(hidden_from, torch.finfo(mask.dtype).min)
        starts = torch.tensor([0, *accumulate(map(len, responses))])
        output = self._backbone(
            input_ids=torch.tensor([[token for each in responses for token in each]], device=device),
            attention_mask=mask.to(device),
            position_ids=(prompt + place - starts[text])[None].to(device),
            past_key_values=self._cache,
            use_cache=True,
        )
        states: Tensor = output.last_hidden_state[0]
        return states


class _Before(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """A layer's keys and values (1, heads, prompt, width); what stands behind them stays until the next pass."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._rooms = [keys, values]

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        for index, states in enumerate((key_states, value_states)):
            room = self._rooms[index]
            if room.shape[2] < end:
                self._rooms[index] = torch.cat([room[:, :, :start], states], dim=2)
            else:
                room[:, :, start:end] = states
        keys, values = self._rooms
        return keys[:, :, :end], values[:, :, :end]


def _parts(responses: Sequence[Sequence[int]], tokens: int) -> Iterator[list[Sequence[int]]]:
    """Responses in their order, as many at a time as have no more than ``tokens`` tokens, but one at least."""
    part: list[Sequence[int]] = []
    for response in responses:
        if part and sum(map(len, part)) + len(response) > tokens:
            yield part
            part = []
        part.append(response)
    yield part


class SharedPrompt:
    """What some texts begin with, read once by every backbone that asks for it."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids
        self._read: dict[nn.Module, ReadPrompt] = {}

    @property
    def tokens(self) -> int:
        return len(self.ids)

    def hidden_states(self, backbone: nn.Module, rows: Sequence[Encoded], device: torch.device) -> Tensor:
        """Last hidden states (rows, length, hidden) of ``rows``, which begin with this prompt; zero on padding."""
        return self._by(backbone, device).hidden_states(self._behind(rows))

    def last_states(self, backbone: nn.Module, rows: Sequence[Encoded], device: torch.device) -> Tensor:
        """The same of each row's last token alone, (rows, hidden)."""
        return self._by(backbone, device).last_states(self._behind(rows))

    def _by(self, backbone: nn.Module, device: torch.device) -> ReadPrompt:
        if backbone not in self._read:
            self._read[backbone] = ReadPrompt(backbone, self.ids, device)
        return self._read[backbone]

    def _behind(self, rows: Sequence[Encoded]) -> list[list[int]]:
        return [row.input_ids[self.tokens :] for row in rows]


@torch.no_grad()
def longest_shared(model: PreTrainedModel, backbone: nn.Module) -> int:
    """Tokens of the longest text that ``model`` can read behind a shared prompt; 0 where it cannot.

    Tried on short texts, because no list of architectures could be complete: recurrent layers cannot, nor can attention
    that counts distances by a token's place in its row. Where a window limits attention, texts may be as long as that.
    """
    config = model.config.get_text_config()
    if windows_count_places(config):
        return 0
    texts = ([1, 2, 3, 4], [1, 2, 4, 3, 2])
    try:
        together = ReadPrompt(backbone, [1, 2], model.device).hidden_states([text[2:] for text in texts])
        for text, states in zip(texts, together, strict=True):
            alone = backbone(input_ids=torch.tensor([text], device=model.device), use_cache=False).last_hidden_state[0]
            if not alike(states[: len(text)], alone, alone.dtype, 1e-3):
                return 0
    except UNABLE:
        return 0
    return min(attention_windows(config), default=2**31)


def attention_windows(config: PretrainedConfig) -> list[int]:
    """Of how many tokens the windows are, if any, that limit attention."""
    named = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    return [window for window in named if isinstance(window, int)]


def windows_count_places(config: PretrainedConfig) -> bool:
    """Whether attention looks so many places back in its row, as GPT-Neo's, which no mask changes.

    A text behind others then loses sight of their common prompt, which short texts do not show.
    """
    return isinstance(getattr(config, "window_size", None), int)

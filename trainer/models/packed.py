"""Texts in one line, one behind the other without padding, of which none attends to another.

Tokens of a transformer meet in its attention alone. `transformers` finds that function by a name in the configuration:
ours does what ``sdpa`` does, but for a line it attends within each text. Everything else computes a line as it would
one long text.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from trainer.data.text import Encoded
from trainer.models.shared_prefix import attention_windows
from trainer.models.trial import UNABLE, alike

if TYPE_CHECKING:
    from trainer.models.reward_network import RewardNetwork

PACKED = "packed"
"""The attention's name."""
_TRIED_WINDOW = 128
"""Of attention windows up to so many tokens it is tried whether they are kept; behind others no line goes."""

Masks = dict[int, Tensor | None]
"""By the length of a text, which of its tokens meet, (1, 1, length, length)."""


class Line:
    """What a network reads, each (1, tokens), and where in it texts begin and end."""

    def __init__(self, rows: Sequence[Encoded], device: torch.device, counted_from: int | None = None) -> None:
        """``counted_from``: the padding id after which some networks count positions, passing over such tokens."""
        self.lengths = [row.tokens for row in rows]
        self.attended = 0
        """How often attention was computed for it."""
        self.ends = torch.tensor(self.lengths, device=device).cumsum(0)
        self.starts = self.ends - self.ends.diff(prepend=self.ends.new_zeros(1))
        ids = torch.tensor([[token for row in rows for token in row.input_ids]], device=device)
        self.inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "position_ids": self._positions(ids, counted_from),
        }
        if rows[0].token_type_ids is not None:
            types = [token_type for row in rows for token_type in row.token_type_ids or []]
            self.inputs["token_type_ids"] = torch.tensor([types], device=device)

    def first(self, states: Tensor) -> Tensor:
        """Of states (1, tokens, width) each text's first, (texts, 1, width)."""
        return states[0, self.starts, None]

    def last(self, states: Tensor) -> Tensor:
        """Of states (1, tokens, width) each text's last, (texts, width)."""
        return states[0, self.ends - 1]

    def mean(self, states: Tensor) -> Tensor:
        """Of states (1, tokens, width) the mean of each text's, (texts, width)."""
        return torch.stack([text.mean(dim=0) for text in torch.split(states[0], self.lengths)])

    def _positions(self, ids: Tensor, counted_from: int | None) -> Tensor:
        if counted_from is None:
            return torch.cat([torch.arange(length, device=ids.device) for length in self.lengths])[None]
        counted = ids[0] != counted_from
        places = [text.cumsum(0) * text for text in torch.split(counted, self.lengths)]
        return torch.cat(places)[None] + counted_from


_line: ContextVar[Line | None] = ContextVar("line", default=None)


def line_being_read() -> Line | None:
    """The line that this thread's passes read, for hooks; None outside of ``reading``."""
    return _line.get()


@contextmanager
def reading(line: Line) -> Iterator[None]:
    """Within, this thread's passes read ``line``. Other threads may read what they like with the same network."""
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,  # noqa: ANN401  # Masks for a line
    **options: Any,  # noqa: ANN401
) -> tuple[Tensor, None]:
    """Attention (batch, tokens, heads, width) of queries, keys and values (batch, heads, tokens, width)."""
    sdpa: Callable[..., tuple[Tensor, None]] = AttentionInterface()["sdpa"]
    line = _line.get()
    if line is None:
        return sdpa(module, query, key, value, attention_mask, **options)
    line.attended += 1
    if query.is_cuda:
        return _attend_by_varlen(line, module, query, key, value, **options), None
    masks: Masks = attention_mask or {}
    texts = zip(
        line.lengths, *(torch.split(states, line.lengths, dim=2) for states in (query, key, value)), strict=True
    )
    found = [sdpa(module, *text, masks.get(length), **options)[0] for length, *text in texts]
    return torch.cat(found, dim=1), None


def _attend_by_varlen(
    line: Line,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> Tensor:
    """The same in one kernel, for half precision on CUDA."""
    from torch.nn.attention.varlen import varlen_attn

    if softcap is not None:
        raise ValueError("varlen_attn caps no scores")
    group = query.shape[1] // key.shape[1]
    queries, keys, values = (
        each[0].transpose(0, 1) for each in (query, key.repeat_interleave(group, 1), value.repeat_interleave(group, 1))
    )
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    reach = -1 if sliding_window is None else sliding_window - 1  # a window counts the token itself
    bounds = torch.nn.functional.pad(line.ends, (1, 0)).to(torch.int32)
    longest = max(line.lengths)
    window = (reach, 0 if causal else reach)
    found = varlen_attn(queries, keys, values, bounds, bounds, longest, longest, scale=scaling, window_size=window)
    assert isinstance(found, Tensor)
    return found[None]


def _masks(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
    """What an architecture's masks are for each text alone; outside of a line what they are for ``sdpa``."""
    mask: Callable[..., Tensor | None] = AttentionMaskInterface()["sdpa"]
    line = _line.get()
    if line is None:
        return mask(*arguments, **options)
    if torch.device(options["device"]).type == "cuda":
        return None  # ``varlen_attn`` is told the window
    alone = {**options, "batch_size": 1, "q_offset": 0, "kv_offset": 0, "attention_mask": None}
    return {length: mask(**{**alone, "q_length": length, "kv_length": length}) for length in set(line.lengths)}


@torch.no_grad()
def longest_packed(
    network: "RewardNetwork",
    in_line: Callable[[Sequence[Encoded]], Line],
    padded: Callable[[Sequence[Encoded]], dict[str, Tensor]],
    max_tokens: int,
) -> int:
    """Tokens of the longest text that ``network`` reads in a line with others; 0 where it does not read lines.

    Tried on short texts, because no list of architectures could be complete: whether every layer attends by the
    function given here, and whether heads find the same states and give the same scores whatever stands beside a text.
    Of attention windows too long to be tried, texts may be as long as they are.
    """
    model = network.model
    if model.config._attn_implementation not in ("sdpa", PACKED) or not _has_kernel(model):
        return 0
    windows = attention_windows(model.config.get_text_config())
    tried = [2 * window + 3 for window in windows if window <= _TRIED_WINDOW]
    rows = [_text(min(length, max_tokens), network) for length in (9, 1, 14, *tried, 9, 3)]
    AttentionInterface.register(PACKED, _attend)
    AttentionMaskInterface.register(PACKED, _masks)
    before, training = model.config._attn_implementation, model.training
    model.eval()
    try:
        model.set_attn_implementation(PACKED)
        if all(_same(network, in_line(some), padded(some)) for some in (rows, rows[::-1])):
            return min([window for window in windows if window > _TRIED_WINDOW], default=2**31)
    except UNABLE:
        pass
    finally:
        model.train(training)
    model.set_attn_implementation(before)
    return 0


def _has_kernel(model: PreTrainedModel) -> bool:
    if model.device.type == "cpu":
        return True
    return (
        model.device.type == "cuda"
        and model.dtype in (torch.float16, torch.bfloat16)
        and find_spec("torch.nn.attention.varlen") is not None
    )


def _text(length: int, network: "RewardNetwork") -> Encoded:
    """So many tokens, of two types where the network tells types apart."""
    config = network.model.config.get_text_config()
    ids = [(7 * place + 3 * length + 5) % config.vocab_size for place in range(length)]
    return Encoded(ids, 0, [int(2 * place > length) for place in range(length)] if network.reads_token_types else None)


def _same(network: "RewardNetwork", line: Line, padded: dict[str, Tensor]) -> bool:
    passes = [(network.read_line(line), network.read(padded)), (network.score_line(line), network(padded))]
    if line.attended != len(passes) * network.model.config.get_text_config().num_hidden_layers:
        return False
    return all(alike(found, expected, network.model.dtype, 1e-4) for found, expected in passes)

"""Each preference's prompt once: both responses stand behind it in one row, and neither sees the other.

Under causal attention what a prompt's tokens become does not depend on what follows, so that nothing but rounding
changes; with long prompts half of the work goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trainer.data.text import Encoded, pad_right
from trainer.errors import InvalidInput
from trainer.models.shared_prefix import attention_windows, windows_count_places
from trainer.models.trial import UNABLE


@dataclass(frozen=True)
class SharedPrompts:
    """Rows (pairs, length) of shared beginning, rest of the first text and rest of the second."""

    input_ids: Tensor
    position_ids: Tensor
    """Where each token stands in its own text."""
    beginnings: Tensor
    """Tokens that both texts of a row begin with, (pairs,)."""
    firsts: Tensor
    """Tokens of the first text, (pairs,)."""
    places: Tensor
    """For every position of the two-row batch, flattened, the position here, flattened."""

    def to(self, device: torch.device) -> "SharedPrompts":
        return SharedPrompts(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def visible(self) -> Tensor:
        """(pairs, 1, length, length): True where a query may look."""
        place = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        query, key = place[:, None], place[None, :]
        start, end = self.beginnings[:, None, None], self.firsts[:, None, None]
        return ((key <= query) & ~((query >= end) & (key >= start) & (key < end)))[:, None]

    def hidden_states(self, backbone: nn.Module) -> Tensor:
        """What ``backbone`` makes of all texts, one after another: (places, hidden)."""
        mask = self.visible
        if cast(Any, backbone).config._attn_implementation == "eager":  # adds a mask to its scores
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)
        output = backbone(
            input_ids=self.input_ids,
            attention_mask=mask,
            position_ids=self.position_ids,
            use_cache=False,
        )
        states: Tensor = output.last_hidden_state.flatten(0, 1)
        return states.index_select(0, self.places)


def share_prompts(rows: Sequence[Encoded], pad_id: int) -> SharedPrompts:
    """Join text i with text i + n of the 2 n ``rows``; as long as a longest row are the texts that come out."""
    half = len(rows) // 2
    pairs = list(zip(rows[:half], rows[half:], strict=True))
    shared = [_common(first, second) for first, second in pairs]
    ids = [[*a.input_ids, *b.input_ids[p:]] for (a, b), p in zip(pairs, shared, strict=True)]
    positions = [[*range(a.tokens), *range(p, b.tokens)] for (a, b), p in zip(pairs, shared, strict=True)]
    width, length = max(len(row) for row in ids), max(row.tokens for row in rows)
    beginnings, firsts = torch.tensor(shared), torch.tensor([a.tokens for a, _ in pairs])
    place, row = torch.arange(length), torch.arange(half)[:, None] * width
    # a second text continues behind the first; what is padding points anywhere inside
    second = torch.where(place < beginnings[:, None], place, place + (firsts - beginnings)[:, None])
    places = torch.cat([row + place, row + second.clamp(max=width - 1)])
    return SharedPrompts(
        torch.tensor(pad_right(ids, pad_id)),
        torch.tensor(pad_right(positions, 0)),
        beginnings,
        firsts,
        places.flatten(),
    )


def _common(first: Encoded, second: Encoded) -> int:
    """How many tokens both begin with: the prompt, and whatever the responses begin with alike."""
    same = (a == b for a, b in zip(first.input_ids, second.input_ids, strict=False))
    return sum(takewhile(bool, same))


@torch.no_grad()
def check_sharing(model: PreTrainedModel, longest: int) -> None:
    """Try on two short texts whether ``model`` makes of texts that share a beginning what it makes of each alone.

    Recurrent layers do not, nor does attention that counts distances by a token's place in its row or looks through a
    window shorter than the ``longest`` text, in tokens. Raises InvalidInput for these.
    """
    rows = [Encoded([1, 2, 3, 4], 2), Encoded([1, 2, 4, 3, 2], 2)]
    config, training = model.config.get_text_config(), model.training
    model.eval()
    try:
        backbone = cast(nn.Module, model.get_decoder())
        together = share_prompts(rows, 0).to(model.device).hidden_states(backbone).view(2, 5, -1)
        same = not windows_count_places(config) and longest <= min(attention_windows(config), default=longest)
        for row, states in zip(rows, together, strict=True):
            ids = torch.tensor([row.input_ids], device=model.device)
            alone = backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
            same &= torch.allclose(states[: row.tokens], alone, rtol=0.01, atol=0.01 * float(alone.abs().max()))
    except UNABLE:
        same = False
    finally:
        model.train(training)
    if not same:
        raise InvalidInput(
            f"{type(model).__name__} cannot share prompts of texts of {longest} tokens; set share_prompts to false",
            pointer="/share_prompts",
        )

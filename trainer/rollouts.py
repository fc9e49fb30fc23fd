"""Responses sampled from the policy being trained, and what is recomputed of them: log-probabilities and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trainer.data.text import Encoded, Prompt
from trainer.errors import InvalidInput, OverlongInput
from trainer.generation.batches import batches, decode_within_memory
from trainer.generation.decoding import Decoding, Row
from trainer.generation.sampled import Cell, Decoded
from trainer.models.policy import PairBatch, Policy, collate

Between = Callable[[str], None]
"""Called between the parts of long work with where it is; raises to abandon it."""


def keep_on(_: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class PolicyPrompt:
    """A prompt as text and as the policy reads it."""

    index: int
    """Its place among the prompts, which its noise is keyed by."""
    prompt: Prompt
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Rollout:
    """A sampled response to a prompt."""

    prompt: PolicyPrompt
    response: str
    """The text, without special tokens; may be empty."""
    encoded: Encoded
    """The token ids as they were sampled: encoding the text again might give others."""
    ended: bool
    """Whether the policy ended it, rather than the limit on tokens."""


@dataclass(frozen=True)
class TokenTable:
    """Per-token tensors (responses, length) of some rollouts; columns are places in prompt plus response."""

    mask: Tensor
    logps: Tensor
    """Of the policy that sampled."""
    reference_logps: Tensor
    values: Tensor

    def rows(self, indices: Sequence[int], length: int) -> "TokenTable":
        """Of these rollouts, the first ``length`` columns."""
        picked = torch.as_tensor(indices, device=self.mask.device)
        return TokenTable(**{field.name: getattr(self, field.name)[picked, :length] for field in fields(self)})


def encode_prompts(policy: Policy, prompts: Sequence[Prompt], max_response_tokens: int) -> list[PolicyPrompt]:
    """Tokenise. Raises InvalidInput or OverlongInput, naming the prompt, where one cannot be used or leaves no room."""
    room = policy.max_tokens - max_response_tokens
    encoded = []
    for index, prompt in enumerate(prompts):
        try:
            ids = policy.format.prompt_ids(prompt)
        except InvalidInput as error:
            raise InvalidInput(f"prompt {index + 1}: {error}") from error
        if len(ids) > room:
            raise OverlongInput(
                f"prompt {index + 1} has {len(ids)} tokens; with max_response_tokens={max_response_tokens} the policy"
                f" has room for {max(room, 0)}: shorten the prompt or lower ppo.max_response_tokens"
            )
        encoded.append(PolicyPrompt(index, prompt, tuple(ids)))
    return encoded


def sample_rollouts(
    policy: Policy,
    prompts: Sequence[PolicyPrompt],
    *,
    replicates: int = 1,
    seed: int,
    draw: int,
    max_response_tokens: int,
    temperature: float = 1.0,
    between: Between = keep_on,
) -> list[Rollout]:
    """``replicates`` responses to each prompt, a prompt's standing together, from the whole distribution (top_p = 1).

    The noise of a response is a function of (seed, draw, prompt's index, replicate): another ``draw``, fresh noise.
    """
    keys = {f"{draw}/{prompt.index}": prompt for prompt in prompts}
    cells = {key: [Cell(key, temperature, replicate) for replicate in range(replicates)] for key in keys}
    rows = [Row(cell, prompt.ids) for key, prompt in keys.items() for cell in cells[key]]
    found: dict[Cell, Decoded] = {}
    decoding = Decoding(seed, max_response_tokens, coupled=temperature == 0)
    for batch in batches(rows):
        for ended in decode_within_memory(policy, batch, decoding):
            found |= {each.cell: each for each in ended}
            between(f"{len(found)} of {len(rows)} responses")
    return [
        Rollout(
            prompt,
            found[cell].response,
            Encoded([*prompt.ids, *found[cell].ids], len(prompt.ids)),
            found[cell].finish_reason == "stop",
        )
        for key, prompt in keys.items()
        for cell in cells[key]
    ]


@torch.no_grad()
def recompute(
    rollouts: Sequence[Rollout],
    actor_critic: Callable[[PairBatch], tuple[Tensor, Tensor]],
    reference: Callable[[PairBatch], Tensor],
    *,
    pad_id: int,
    device: torch.device,
    micro: int,
    between: Between = keep_on,
) -> TokenTable:
    """Log-probabilities and values of the sampled tokens, by the very forward that training differentiates.

    Those that decoding met on its way came through a cache and other shapes; their rounding would pass for a change
    of the policy.
    """
    width = max(rollout.encoded.tokens for rollout in rollouts)
    columns: list[list[Tensor]] = [[], [], [], []]
    for start in range(0, len(rollouts), micro):
        between("log-probabilities")
        batch = collate([rollout.encoded for rollout in rollouts[start : start + micro]], pad_id).to(device)
        logps, values = actor_critic(batch)
        for column, part in zip(columns, (batch.response_mask, logps, reference(batch), values), strict=True):
            column.append(torch.nn.functional.pad(part, (0, width - part.shape[1])))
    mask, logps, reference_logps, values = (torch.cat(column) for column in columns)
    return TokenTable(mask, logps, reference_logps, values)

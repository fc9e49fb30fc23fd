"""The lines of a batch: each holds one row's response as it grows, and takes another row when that ends."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from math import ceil

import torch
from torch import Tensor

from trainer.generation.slots import SlotCache
from trainer.models.policy import Policy

_RENEW_AT = 0.1
"""The share of ended lines at which they leave: until then each step computes them in vain."""


@dataclass(frozen=True)
class Ended:
    """A finished response."""

    row: int
    """Its place among the rows."""
    ids: list[int]
    """The end token included where one was reached."""
    logprob: float
    """The sum over ``ids``."""
    stopped: bool
    """Whether an end token was reached."""


@dataclass(frozen=True)
class _State:
    """What is known of each line; the first dimension is lines."""

    row: Tensor
    step: Tensor
    """How many tokens the response has."""
    token: Tensor
    """The last token of prompt and response, which the model has not read yet."""
    start: Tensor
    """The column of the prompt's first token."""
    ids: Tensor
    """(lines, max_response_tokens + 1); from ``step`` on they mean nothing."""
    logprob: Tensor
    ended: Tensor

    def first(self, lines: int) -> "_State":
        """Views of the first ``lines`` lines."""
        return _State(**{field.name: getattr(self, field.name)[:lines] for field in fields(self)})

    def move(self, to: Tensor, origin: Tensor) -> None:
        for field in fields(self):
            tensor = getattr(self, field.name)
            tensor[to] = tensor[origin]


class Lines:
    """Rows are admitted in order; each prompt is read once for all the rows that follow each other with it."""

    def __init__(
        self, policy: Policy, prompts: Sequence[tuple[int, ...]], lines: int, max_response_tokens: int
    ) -> None:
        """``prompts`` are the rows' prompts; at most ``lines`` rows are there at a time."""
        self._policy = policy
        self._prompts = prompts
        self._max_response_tokens = max_response_tokens
        self._admitted = 0
        self._known: dict[tuple[int, ...], tuple[SlotCache, int]] = {}
        lines = min(lines, len(prompts))
        longest = max(map(len, prompts))
        width = longest + max_response_tokens
        if lines < len(prompts):
            width += width // 2  # so that columns are seldom moved to the left
        self._cache = SlotCache(policy.model.config, lines, width, end=longest - 1)
        self._eos = torch.tensor(policy.eos_ids, dtype=torch.long, device=policy.device)
        whole = torch.zeros(lines, dtype=torch.long, device=policy.device)
        self._whole = _State(
            row=whole,
            step=whole.clone(),
            token=whole.clone(),
            start=whole.clone(),
            ids=whole.new_zeros(lines, max_response_tokens + 1),
            logprob=whole.double(),
            ended=whole.bool(),
        )
        self._admit(list(range(lines)))
        self._settle(lines)

    def __len__(self) -> int:
        return len(self._now.row)

    @property
    def row(self) -> Tensor:
        """Which row each line holds (lines,)."""
        return self._now.row

    @property
    def step(self) -> Tensor:
        """How many tokens each line's response has (lines,)."""
        return self._now.step

    def read(self) -> Tensor:
        """Read each line's last token; logits (lines, vocabulary), float32, of the next."""
        end = self._cache.end
        mask = None
        if not self._level:
            mask = torch.arange(self._cache.first, end + 1, device=self._policy.device) >= self._now.start[:, None]
        # an ended line that still stands here may be past the window, and nobody looks at what it says
        position = (end - self._now.start).clamp(max=self._policy.max_tokens - 1)
        return self._forward(self._now.token[:, None], mask, position[:, None], self._cache)

    def take(self, token: Tensor, logprob: Tensor) -> None:
        """Append ``token`` (lines,) with its log-probability (lines,) to each line that has not ended."""
        now = self._now
        going = ~now.ended
        now.ids[torch.arange(len(self), device=token.device), now.step] = token
        now.logprob.add_(logprob * going)
        now.step.add_(going)
        now.token.copy_(token)
        now.ended.logical_or_(torch.isin(token, self._eos)).logical_or_(now.step == self._max_response_tokens)

    def renew(self) -> list[Ended]:
        """Once it is worth it, give the lines that have ended to the rows that wait; returns what has left."""
        full = self._cache.end == self._cache.width
        ended = self._now.ended.nonzero()[:, 0]
        if len(ended) < ceil(_RENEW_AT * len(self)) and not full:
            return []
        gone = self._gone(ended)
        lines = ended.tolist()
        waiting = len(self._prompts) - self._admitted
        self._admit(lines[:waiting])
        self._settle(self._close(lines[waiting:]))
        if full and len(self):
            self._now.start.sub_(self._cache.shift())
        return gone

    def _gone(self, lines: Tensor) -> list[Ended]:
        eos = set(self._policy.eos_ids)
        columns = [
            tensor[lines].tolist() for tensor in (self._now.row, self._now.step, self._now.ids, self._now.logprob)
        ]
        return [
            Ended(row, ids[:step], logprob, ids[step - 1] in eos)
            for row, step, ids, logprob in zip(*columns, strict=True)
        ]

    def _admit(self, lines: list[int]) -> None:
        """Give the next rows to these lines."""
        rows = range(self._admitted, self._admitted + len(lines))
        if not rows:
            return
        self._admitted = rows.stop
        self._know([self._prompts[row] for row in rows])
        of_row = [self._known[self._prompts[row]] for row in rows]
        for _, group in groupby(range(len(rows)), key=lambda i: id(of_row[i][0])):
            own = list(group)
            self._cache.place(
                self._tensor([lines[i] for i in own]), of_row[own[0]][0], self._tensor([of_row[i][1] for i in own])
            )
        if self._admitted == len(self._prompts) or self._prompts[self._admitted] != self._prompts[rows[-1]]:
            self._known = {}
        to, end = self._tensor(lines), self._cache.end
        self._whole.row[to] = self._tensor(list(rows))
        self._whole.token[to] = self._tensor([self._prompts[row][-1] for row in rows])
        self._whole.start[to] = self._tensor([end + 1 - len(self._prompts[row]) for row in rows])
        self._whole.step[to] = 0
        self._whole.logprob[to] = 0
        self._whole.ended[to] = False

    def _know(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Read those prompts that are new, each but for its last token, which its lines read themselves."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if not new:
            return
        width = max(map(len, new)) - 1
        cache = SlotCache(self._policy.model.config, len(new), width)
        if width:
            # padding on the left, so that every prompt ends at the same column
            pad = self._policy.pad_id
            ids = self._tensor([[pad] * (width + 1 - len(prompt)) + list(prompt[:-1]) for prompt in new])
            position = torch.arange(width, device=ids.device) - self._tensor(
                [[width + 1 - len(prompt)] for prompt in new]
            )
            self._forward(
                ids, None if bool((position[:, 0] == 0).all()) else position >= 0, position.clamp(min=0), cache
            )
        self._known |= {prompt: (cache, index) for index, prompt in enumerate(new)}

    def _close(self, lines: list[int]) -> int:
        """Fill the place of these lines with the last of the others; returns how many lines are left."""
        left = len(self) - len(lines)
        holes = [line for line in lines if line < left]
        if holes:
            movers = self._tensor(sorted(set(range(left, len(self))) - set(lines)))
            self._cache.move(self._tensor(holes), movers)
            self._whole.move(self._tensor(holes), movers)
        return left

    def _settle(self, lines: int) -> None:
        """From now on the first ``lines`` lines are those that hold a row."""
        self._now = self._whole.first(lines)
        starts = set(self._now.start.tolist())
        self._cache.show(lines, min(starts, default=0))
        self._level = len(starts) == 1

    def _forward(self, ids: Tensor, mask: Tensor | None, position: Tensor, cache: SlotCache) -> Tensor:
        output = self._policy.model(
            input_ids=ids,
            attention_mask=None if mask is None else mask.long(),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits.float()

    def _tensor(self, values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._policy.device)

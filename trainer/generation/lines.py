"""The lines of a batch: each holds one beginning of a response, for all the rows that have said the same so far."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain, compress, groupby
from math import ceil
from operator import not_

import torch
from torch import Tensor

from trainer.generation.prompts import Prompts, attending, can_share
from trainer.generation.slots import SlotCache
from trainer.models.policy import Policy

_RENEW_AT = 0.05
"""The share of lines that have ended, or could be taken by what waits, at which they are given away."""


@dataclass(frozen=True)
class Ended:
    """A finished response."""

    rows: list[int]
    """The places, among the rows, of those that gave it."""
    ids: list[int]
    """The end token included where one was reached."""
    logprob: float
    """The sum over ``ids``."""
    stopped: bool
    """Whether an end token was reached."""


@dataclass(frozen=True)
class _Branch:
    """Rows that went another way than their line, and wait for one that goes on from there."""

    line: int
    """Holds what they said before."""
    step: int
    """How many tokens that is."""
    token: int
    logprob: float
    rows: list[int]


@dataclass(frozen=True)
class _State:
    """What is known of each line; the first dimension is lines."""

    step: Tensor
    """How many tokens the response has."""
    token: Tensor
    """The last token of prompt and response, which the model has not read yet."""
    start: Tensor
    """The column of its first token: the prompt's first, or the prompt's last where the others are kept once."""
    prompt: Tensor
    """The number of its prompt among those kept once."""
    ids: Tensor
    """(lines, max_response_tokens); from ``step`` on they mean nothing."""
    logps: Tensor
    """Of ``ids``."""

    def first(self, lines: int) -> "_State":
        """Views of the first ``lines`` lines."""
        return _State(**{field.name: getattr(self, field.name)[:lines] for field in fields(self)})

    def move(self, to: Tensor, origin: Tensor) -> None:
        for field in fields(self):
            tensor = getattr(self, field.name)
            tensor[to] = tensor[origin]


class Lines:
    """The tree of each prompt's responses, walked depth first on a limited number of lines.

    All rows of a prompt begin on one line. Where their tokens part, one way stays on the line and the others wait as
    branches. They are copied from there to lines that are free, or take the line over when it has ended.
    """

    def __init__(
        self, policy: Policy, prompts: Sequence[tuple[int, ...]], lines: int, max_response_tokens: int
    ) -> None:
        """``prompts`` are the rows' prompts; at most ``lines`` lines are there at a time."""
        self._policy = policy
        self._max_response_tokens = max_response_tokens
        self._unread: dict[tuple[int, ...], list[int]] = {}
        """The rows of each prompt that waits."""
        for row, prompt in enumerate(prompts):
            self._unread.setdefault(prompt, []).append(row)
        self._prompts = prompts
        longest = max(map(len, prompts))
        self._once = Prompts(max(longest - 1, 1), policy.device) if can_share(policy) else None
        """The prompts under way, all but the last token of each, unless they are copied to each line."""
        self._branches: list[list[_Branch]] = [[] for _ in range(lines)]
        """Those that left each line and wait, the shortest first."""
        longest = max(map(self._inside, prompts))
        width = longest + max_response_tokens
        if lines < len(prompts):
            width += width // 4  # so that columns are seldom moved to the left
        self.most = min(lines, len(prompts))
        """How many lines there are at most."""
        self._cache = SlotCache(policy.model.config, self.most, width, end=longest - 1)
        self._eos = self._tensor(policy.eos_ids)
        whole = self._tensor([0] * self.most)
        ids = whole.new_zeros(self.most, max_response_tokens)
        self._whole = _State(
            step=whole,
            token=whole.clone(),
            start=whole.clone(),
            prompt=whole.clone(),
            ids=ids,
            logps=ids.double(),
        )
        self._now = self._whole.first(0)
        self.row = whole[:0]
        """The rows under way (rows,)."""
        self.line = whole[:0]
        """The line that each of them is on (rows,)."""
        self.renew()

    def __len__(self) -> int:
        return len(self._now.step)

    @property
    def step(self) -> Tensor:
        """How many tokens each row's response has (rows,)."""
        return self._now.step[self.line]

    def read(self) -> Tensor:
        """Read each line's last token; logits (lines, vocabulary), float32, of the next."""
        end = self._cache.end
        mask = None
        if not self._level:
            mask = torch.arange(self._cache.first, end + 1, device=self._policy.device) >= self._now.start[:, None]
        # an ended line that still stands here may be past the window, and nobody looks at what it says
        position = end - self._now.start
        if self._once is None:
            position.clamp_(max=self._policy.max_tokens - 1)
            return self._forward(self._now.token[:, None], mask, position[:, None], self._cache)
        position.add_(self._once.lengths[self._now.prompt]).clamp_(max=self._policy.max_tokens - 1)
        self._once.others = None if mask is None else ~mask[:, None, None]
        with attending(self._policy.model):
            return self._forward(
                self._now.token[:, None], None, position[:, None], self._cache, line_prompts=self._once
            )

    def take(self, token: Tensor, logprob: Tensor) -> list[Ended]:
        """Append to each row its ``token`` (rows,) with its log-probability (rows,); returns what this ends."""
        now = self._now
        ends = torch.isin(token, self._eos) | (self.step + 1 == self._max_response_tokens)
        # a way is a line with a token; of a line's ways those that go on come first, and the first of them stays
        tokens = token.max() + 1
        ways, way = torch.unique((self.line * 2 + ends) * tokens + token, return_inverse=True)
        line, token, ends = ways // tokens // 2, ways % tokens, ways // tokens % 2 == 1
        logprob = logprob.new_empty(len(ways)).scatter_(0, way, logprob)
        stays = ~ends
        stays[1:] &= line[1:] != line[:-1]

        going = stays[way]
        rows: dict[int, list[int]] = {}
        for key, row in zip(way[~going].tolist(), self.row[~going].tolist(), strict=True):
            rows.setdefault(key, []).append(row)
        left = (~stays).nonzero()[:, 0]
        columns = (each[left].tolist() for each in (line, now.step[line], token, logprob))
        branches = [_Branch(*values) for values in zip(*columns, map(rows.__getitem__, left.tolist()), strict=True)]
        over = ends[left].tolist()
        ended = self._ended(list(compress(branches, over)))
        for branch in compress(branches, map(not_, over)):
            self._branches[branch.line].append(branch)

        self.row, self.line = self.row[going], self.line[going]
        line, token = line[stays], token[stays]
        now.ids[line, now.step[line]] = token
        now.logps[line, now.step[line]] = logprob[stays]
        now.token[line] = token
        now.step[line] += 1
        return ended

    def renew(self) -> None:
        """Once it is worth it, give the lines that have ended, or were never taken, to what waits."""
        full = self._cache.end == self._cache.width
        ended = (torch.bincount(self.line, minlength=len(self)) == 0).nonzero()[:, 0].tolist()
        free = self.most - len(self) + len(ended)
        waiting = sum(map(len, self._branches)) + len(self._unread)
        if max(len(ended), min(free, waiting)) < ceil(_RENEW_AT * len(self)) and not full:
            return
        own = [self._branches[line].pop() for line in ended if self._branches[line]]
        lines = sorted(set(ended) - {branch.line for branch in own}) + list(range(len(self), self.most))
        # the shortest have the longest to go
        others = sorted(chain(*self._branches), key=lambda branch: branch.step)[: len(lines)]
        for branch in others:
            self._branches[branch.line].remove(branch)
        self._continue(others, lines[: len(others)])
        self._continue(own, [branch.line for branch in own])
        lines = lines[len(others) :]
        lines = lines[self._begin(lines) :]
        self._settle(self._close(lines))
        if full and len(self):
            self._now.start.sub_(self._cache.shift())

    def _ended(self, branches: Sequence[_Branch]) -> list[Ended]:
        eos = set(self._policy.eos_ids)
        lines = self._tensor([branch.line for branch in branches])
        said = zip(branches, self._now.ids[lines].tolist(), self._now.logps[lines].tolist(), strict=True)
        return [
            Ended(
                rows=branch.rows,
                ids=[*ids[: branch.step], branch.token],
                logprob=sum(logps[: branch.step]) + branch.logprob,
                stopped=branch.token in eos,
            )
            for branch, ids, logps in said
        ]

    def _continue(self, branches: Sequence[_Branch], lines: Sequence[int]) -> None:
        """Give a line of its own to each branch."""
        if not branches:
            return
        end, starts = self._cache.end, self._whole.start.tolist()
        at = [end - self._inside(self._prompts[branch.rows[0]]) - branch.step for branch in branches]
        by = [start - starts[branch.line] for start, branch in zip(at, branches, strict=True)]
        # what lines are copied to is read by no other
        for columns, group in groupby(sorted(range(len(branches)), key=by.__getitem__), key=by.__getitem__):
            own = [i for i in group if columns or lines[i] != branches[i].line]
            to, origin = (self._tensor(of) for of in ([lines[i] for i in own], [branches[i].line for i in own]))
            self._cache.move(to, origin, columns)
        to, origin = self._tensor(lines), self._tensor([branch.line for branch in branches])
        step, token = (self._tensor([getattr(branch, of) for branch in branches]) for of in ("step", "token"))
        whole = self._whole
        whole.move(to, origin)
        whole.ids[to, step] = token
        whole.logps[to, step] = whole.logps.new_tensor([branch.logprob for branch in branches])
        self._occupy(to, self._tensor(at), step + 1, token, [branch.rows for branch in branches])

    def _begin(self, lines: Sequence[int]) -> int:
        """Read prompts whose rows are about as many as ``lines``, for the first of these; returns how many prompts."""
        new: dict[tuple[int, ...], list[int]] = {}
        rows = 0
        for prompt, own in self._unread.items():
            rows += len(own)
            if len(new) == len(lines) or (new and rows > len(lines)):
                break
            new[prompt] = own
        if not new:
            return 0
        for prompt in new:
            del self._unread[prompt]
        to = self._tensor(lines[: len(new)])
        read = self._read_prompts(list(new))
        if self._once is None:
            self._cache.place(to, read)
        else:
            self._whole.prompt[to] = self._once.add(read, self._tensor([len(prompt) - 1 for prompt in new]))
        start = self._cache.end + 1 - self._tensor([self._inside(prompt) for prompt in new])
        token = self._tensor([prompt[-1] for prompt in new])
        self._occupy(to, start, torch.zeros_like(start), token, list(new.values()))
        return len(new)

    def _occupy(self, to: Tensor, start: Tensor, step: Tensor, token: Tensor, rows: Sequence[Sequence[int]]) -> None:
        self._whole.start[to], self._whole.step[to], self._whole.token[to] = start, step, token
        line = to.repeat_interleave(self._tensor([len(own) for own in rows]))
        # in order, so that rows that meet the same noise stand together
        self.row, order = torch.cat([self.row, self._tensor(list(chain(*rows)))]).sort()
        self.line = torch.cat([self.line, line])[order]

    def _read_prompts(self, prompts: Sequence[tuple[int, ...]]) -> SlotCache:
        """Keys and values of each prompt but for its last token, which its line reads itself."""
        width = max(max(map(len, prompts)) - 1, 0 if self._once is None else 1)
        cache = SlotCache(self._policy.model.config, len(prompts), width)
        if width:
            # padding on the left, so that every prompt ends at the same column
            pad = self._policy.pad_id
            ids = self._tensor([[pad] * (width + 1 - len(prompt)) + list(prompt[:-1]) for prompt in prompts])
            position = torch.arange(width, device=ids.device) - self._tensor(
                [[width + 1 - len(prompt)] for prompt in prompts]
            )
            self._forward(
                ids, None if bool((position[:, 0] == 0).all()) else position >= 0, position.clamp(min=0), cache
            )
        return cache

    def _close(self, lines: Sequence[int]) -> int:
        """Fill the place of these lines with the last of the others; returns how many lines are left."""
        left = self.most - len(lines)
        holes = [line for line in lines if line < left]
        if holes:
            # nothing waits on any line, or these would have been taken
            movers, to = self._tensor(sorted(set(range(left, self.most)) - set(lines))), self._tensor(holes)
            self._cache.move(to, movers)
            self._whole.move(to, movers)
            renamed = torch.arange(self.most, device=to.device).index_put((movers,), to)
            self.line = renamed[self.line]
        return left

    def _settle(self, lines: int) -> None:
        """From now on the first ``lines`` lines are those that hold rows."""
        self._now = self._whole.first(lines)
        starts = set(self._now.start.tolist())
        self._cache.show(lines, min(starts, default=0))
        self._level = len(starts) == 1
        if self._once is not None:
            self._now.prompt.copy_(self._once.assign(self._now.prompt))

    def _inside(self, prompt: tuple[int, ...]) -> int:
        """How many tokens of a prompt its lines keep themselves."""
        return len(prompt) if self._once is None else 1

    def _forward(
        self,
        ids: Tensor,
        mask: Tensor | None,
        position: Tensor,
        cache: SlotCache,
        **attended: Prompts,
    ) -> Tensor:
        output = self._policy.model(
            input_ids=ids,
            attention_mask=None if mask is None else mask.long(),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **attended,
        )
        logits: Tensor = output.logits[:, -1]
        return logits.float()

    def _tensor(self, values: Sequence[int] | Sequence[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._policy.device)

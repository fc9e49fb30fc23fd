"""One batch as policies read it: each of them once, however many scorers look at what it saw."""

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from trainer.data.text import Encoded
from trainer.models.policy import PairBatch, Policy, collate
from trainer.models.shared_prefix import SharedPrompt


class Reading:
    """What one policy makes of the batch; nothing is computed before it is asked for."""

    def __init__(self, policy: Policy, rows: Sequence[Encoded], shared: SharedPrompt | None = None) -> None:
        self._policy = policy
        self._rows = rows
        self._shared = shared
        self.batch: PairBatch = collate(rows, policy.pad_id).to(policy.device)

    @cached_property
    def hidden_states(self) -> Tensor:
        """After the final norm, (batch, length, hidden)."""
        if self._shared is not None and max(row.tokens for row in self._rows) <= self._policy.longest_shared:
            return self._shared.hidden_states(self._policy.backbone, self._rows, self._policy.device)
        return self._policy.hidden_states(self.batch)

    @cached_property
    def sum_logprob(self) -> Tensor:
        """Log-probability of each response, (batch,), float32."""
        return self._policy.logps(self.batch, self.hidden_states).sum(dim=1)

    @cached_property
    def mean_logprob(self) -> Tensor:
        """The same per token of the response."""
        return self.sum_logprob / self.batch.response_mask.sum(dim=1)


class Readings:
    """The readings of one batch, by policy. ``shared`` is what all its rows begin with, where that is to be read once:
    scores are the same but for rounding."""

    def __init__(self, rows: Sequence[Encoded], shared: SharedPrompt | None = None) -> None:
        self.rows = rows
        self.shared = shared
        self._by_policy: dict[Policy, Reading] = {}

    def by(self, policy: Policy) -> Reading:
        if policy not in self._by_policy:
            self._by_policy[policy] = Reading(policy, self.rows, self.shared)
        return self._by_policy[policy]

    def forget(self) -> None:
        """Give the memory back; what is asked for again is computed again."""
        self._by_policy.clear()

"""One batch as policies read it: each of them once, however many scorers look at what it saw."""

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from trainer.data.text import Encoded
from trainer.models.policy import PairBatch, Policy, collate


class Reading:
    """What one policy makes of the batch; nothing is computed before it is asked for."""

    def __init__(self, policy: Policy, rows: Sequence[Encoded]) -> None:
        self._policy = policy
        self.batch: PairBatch = collate(rows, policy.pad_id).to(policy.device)

    @cached_property
    def hidden_states(self) -> Tensor:
        """After the final norm, (batch, length, hidden)."""
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
    """The readings of one batch, by policy."""

    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows
        self._by_policy: dict[Policy, Reading] = {}

    def by(self, policy: Policy) -> Reading:
        if policy not in self._by_policy:
            self._by_policy[policy] = Reading(policy, self.rows)
        return self._by_policy[policy]

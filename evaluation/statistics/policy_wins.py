"""How often one policy's response is judged better than another's to the same prompt, with an interval over prompts.

Of a prompt with n_A and n_B responses the share of the n_A n_B pairs that A wins, ties counting half, is
(R_A - n_A (n_A + 1) / 2) / (n_A n_B), R_A being the sum of A's mid-ranks among both (Mann and Whitney 1947). Prompts
that both answered count equally, however many responses there are.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from evaluation.statistics.bootstrap import Bootstrap, Contributions, Floats, Ints, Known
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.influence import Influences, influences
from evaluation.statistics.measured import Frame, Measured, measured
from evaluation.statistics.ordering import mid_ranks_within

WIN_RATE = "win_rate_over_"
"""Prefix of the statistics; the winner stands as ``scorer``."""

OTHERS = "others"
MOST_POLICIES = 10
"""More of them are each compared with all others together, instead of two by two."""


class WinSums(Known):
    """Per prompt [responses, both answered, share won]. Policies are what is compared, not what is drawn."""

    def __init__(self, prompt: Ints, is_first: Ints, oracle: Floats, n_prompts: int) -> None:
        """``prompt`` (rows,) is sorted; ``is_first`` (rows,) is 1 for the first policy's responses, else 0."""
        rank = np.unique(oracle, return_inverse=True)[1]
        ranks = np.bincount(prompt, mid_ranks_within(prompt, rank) * is_first, n_prompts)
        own = np.bincount(prompt, is_first, n_prompts)
        others = np.bincount(prompt, minlength=n_prompts) - own
        both = (own > 0) & (others > 0)
        share = (ranks - own * (own + 1) / 2) / np.where(both, own * others, 1)
        sums = np.stack([np.where(both, own + others, 0), both, np.where(both, share, 0)], axis=-1)
        super().__init__(sums.astype(float))

    def measure(self, totals: Floats | None) -> Measured:
        """The share won, mean over prompts that both answered."""
        both = self._sums[:, 1] > 0
        found = measured(_share, self._sums, totals, both, "no prompt has judgements of both")
        return replace(found, bounds=(0.0, 1.0), exact=True)

    def influences(self) -> Floats | None:
        """How far each prompt (prompts,) moves the share."""
        return influences(_share, self._sums, "plain")


def _share(at: Floats) -> Floats:
    return np.asarray(at[..., 2] / at[..., 1])


def win_rates(
    prompt: Ints,
    policy: Ints,
    names: Sequence[str],
    oracle: str,
    judgements: Floats,
    bootstrap: Bootstrap,
    frame: Frame,
) -> list[Estimate]:
    """Every policy against every other, or, of more than ``MOST_POLICIES``, against all others together.

    ``policy`` (rows,) numbers ``names``; ``judgements`` (rows,) are missing where they are not finite. Nothing for
    policies that no prompt has in common; where one has but no judgements of both, an estimate without a value.
    """
    present = [int(each) for each in np.unique(policy)]
    answered = np.zeros((len(names), bootstrap.n_prompts), dtype=np.int64)
    answered[policy, prompt] = 1
    known = np.flatnonzero(np.isfinite(judgements))
    known = known[np.argsort(prompt[known], kind="stable")]
    n_dropped = len(judgements) - len(known)
    prompt, policy, judgements = prompt[known], policy[known], judgements[known]
    few = len(present) <= MOST_POLICIES
    rivals: list[tuple[int, int | None]] = [*permutations(present, 2)] if few else [(each, None) for each in present]
    asked = {}
    for one, other in rivals:
        against = answered.sum(axis=0) - answered[one] if other is None else answered[other]
        if not (answered[one] * against).any():
            continue
        rows = np.ones(len(policy), dtype=bool) if other is None else (policy == one) | (policy == other)
        is_first = (policy[rows] == one).astype(np.int64)
        asked[one, other] = WinSums(prompt[rows], is_first, judgements[rows], bootstrap.n_prompts)
    alone = Bootstrap(bootstrap.n_prompts, None, bootstrap.draws, bootstrap.seed)
    moved = Influences({pair: column.influences() for pair, column in asked.items()})
    columns: list[Contributions] = [*asked.values(), moved]
    *totals, drawn = alone.totals(columns)
    found = []
    for ((one, other), column), total in zip(asked.items(), totals, strict=True):
        statistic = WIN_RATE + (OTHERS if other is None else names[other])
        share = moved.sure((one, other), column.measure(total), drawn)
        found.append(frame.estimate(names[one], oracle, statistic, share, n_dropped))
    return found

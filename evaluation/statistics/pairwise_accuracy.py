"""How often a scorer orders two responses to one prompt as the oracle does; its own ties count half.

Only pairs that the oracle tells apart are counted. With C concordant, D discordant and T pairs tied by the scorer
alone, the accuracy is (C + T / 2) / (C + D + T). The pairs that the scorer tells apart are counted beside them: with
all three, Kendall's tau-b of the prompt is (2 (C + T / 2) - (C + D + T)) over the root of both numbers' product.
"""

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.ordering import order, placed, runs, stable_order

MOST_RESPONSES_FOR_WEIGHTED_PAIRS = 2048
"""Weighted pairs are listed one by one; beyond this many responses to one prompt that is gigabytes."""

_NUMBERS_IN_A_BLOCK = 4_000_000


def pair_counts(prompt: Ints, score: Ints, oracle: Ints, n_prompts: int) -> Floats:
    """Per prompt ``(agreeing, decided by the oracle, decided by the scorer)`` pairs (n_prompts, 3).

    Ties of the scorer count half as agreeing.

    ``prompt`` (rows,) is sorted and below ``n_prompts``; ``score`` and ``oracle`` (rows,) are ranks from 0 in the
    whole sample, equal where values are. Pairs are counted in O(n log n) by Knight's (1966) method: in the order of
    the oracle, a discordant pair is an inversion of the scores.
    """
    by_score = order(prompt, score)
    by_oracle = by_score[stable_order(prompt, oracle[by_score])]  # and by score where the oracle ties
    pairs = _pairs(np.bincount(prompt, minlength=n_prompts))
    tied_score = _tied_pairs(n_prompts, prompt, score[by_score])
    tied_oracle = _tied_pairs(n_prompts, prompt, oracle[by_oracle])
    tied_both = _tied_pairs(n_prompts, prompt, oracle[by_oracle], score[by_oracle])
    discordant = _inversions(prompt, _ranks_within(prompt, score, by_score)[by_oracle], n_prompts)
    decided = pairs - tied_oracle
    tied_by_score_alone = tied_score - tied_both
    concordant = decided - tied_by_score_alone - discordant
    return np.stack([concordant + tied_by_score_alone / 2, decided, pairs - tied_score], axis=-1)


def weighted_pair_counts(
    prompt: Ints, score: Ints, oracle: Ints, n_prompts: int, second: Ints, weights: Floats
) -> Floats:
    """``pair_counts`` (draws, n_prompts, 3) where a row of second cluster g counts ``weights[draw, g]`` times.

    A row drawn twice is no pair with itself, for the oracle ties it. NaN for a prompt
    with more responses than ``MOST_RESPONSES_FOR_WEIGHTED_PAIRS``.
    """
    counts = np.zeros((len(weights), n_prompts, 3))
    sizes = np.bincount(prompt, minlength=n_prompts)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes >= 2]):
        members = np.flatnonzero(sizes == size)
        if size > MOST_RESPONSES_FOR_WEIGHTED_PAIRS:
            counts[:, members] = np.nan
            continue
        block = max(1, int(_NUMBERS_IN_A_BLOCK // (size * max(size, len(weights)))))
        for first in range(0, len(members), block):
            chosen = members[first : first + block]
            rows = starts[chosen][:, None] + np.arange(size)  # (prompts, size)
            w = weights.T[second[rows]].transpose(0, 2, 1)  # (prompts, draws, size)
            for index, matrix in enumerate(_pair_matrices(score[rows], oracle[rows])):
                counts[:, chosen, index] = ((w @ matrix) * w).sum(-1).T / 2  # each pair stands twice in a matrix
    return counts


def _pair_matrices(score: Ints, oracle: Ints) -> tuple[Floats, Floats, Floats]:
    """For rows (prompts, size): how far each ordered pair agrees, and who decides it; (prompts, size, size) each."""
    score_order = np.sign(score[:, :, None] - score[:, None, :])
    oracle_order = np.sign(oracle[:, :, None] - oracle[:, None, :])
    decided = np.abs(oracle_order).astype(np.float64)
    return decided * (1 + score_order * oracle_order) / 2, decided, np.abs(score_order).astype(np.float64)


def _pairs(count: Ints) -> Floats:
    return count * (count - 1.0) / 2


def _tied_pairs(n_prompts: int, prompt: Ints, *keys: Ints) -> Floats:
    """Per prompt the pairs of rows equal in every key; rows are sorted by prompt and keys."""
    starts, lengths = runs(prompt, *keys)
    return np.asarray(np.bincount(prompt[starts], weights=_pairs(lengths), minlength=n_prompts), dtype=np.float64)


def _ranks_within(prompt: Ints, score: Ints, by_score: Ints) -> Ints:
    """Dense rank from 0 of each row's score in its prompt; ``by_score`` sorts rows of one prompt by score."""
    new_score = np.zeros(len(prompt), dtype=np.int64)
    new_score[runs(prompt, score[by_score])[0]] = 1
    dense = np.cumsum(new_score)
    starts, lengths = runs(prompt)
    return placed(dense - np.repeat(dense[starts], lengths), by_score)


def _inversions(prompt: Ints, rank: Ints, n_prompts: int) -> Floats:
    """Per prompt the pairs of rows in which the earlier has the higher rank; rows are sorted by prompt.

    The ranks' bits are taken from the highest: rows that agree in all higher bits form a segment, in which each 1
    before a 0 is an inversion; a stable partition by the bit makes the segments of the next.
    """
    inversions = np.zeros(n_prompts)
    segment_start = np.repeat(*runs(prompt))
    for bit in reversed(range(int(rank.max(initial=0)).bit_length())):
        ones = (rank >> bit) & 1
        before = np.cumsum(ones) - ones
        ones_before = before - before[segment_start]
        zeros_before = np.arange(len(rank)) - segment_start - ones_before
        inversions += np.bincount(prompt, weights=ones_before * (1 - ones), minlength=n_prompts)
        zeros_in_segment = np.bincount(segment_start, weights=1 - ones, minlength=len(rank)).astype(np.int64)
        ones_start = segment_start + zeros_in_segment[segment_start]
        place = np.where(ones == 1, ones_start + ones_before, segment_start + zeros_before)
        rank, segment_start = (
            placed(values, place) for values in (rank, np.where(ones == 1, ones_start, segment_start))
        )
    return inversions

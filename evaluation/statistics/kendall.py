"""Kendall's tau-b over all rows, as sums over rows.

tau-b = (C - D) / sqrt((C + D + T_x)(C + D + T_y)) with C concordant, D discordant pairs and pairs that only x or only y
ties (Kendall 1945, "The treatment of ties in ranking problems"). Each of the three counts is half of sum_i sum_j k_ij.
In a bootstrap sample with weights w that is a quadratic form in w; it is taken to first order,

    sum_ij w_i w_j k_ij  ~  2 sum_i w_i k_i - k,    k_i = sum_j k_ij,  k = sum_i k_i,  sum_i w_i = n,

which is the U-statistic's projection (Hoeffding 1948) and makes a draw cost a multiplication, not a sort.
"""

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.ordering import order, runs


def kendall_terms(x: Ints, y: Ints) -> Floats:
    """Per row what it adds to ``(C - D, C + D + T_y, C + D + T_x)`` in first order, (rows, 3), up to one factor.

    ``x`` and ``y`` (rows,) are dense ranks from 0. tau-b is the first sum over the root of the other two's product.
    """
    n = len(x)
    if not n:
        return np.zeros((0, 3))
    count_x, count_y = np.bincount(x), np.bincount(y)
    below_x, below_y = np.cumsum(count_x) - count_x, np.cumsum(count_y) - count_y
    concordance = 4 * _both_below(x, y) + n - 2 * (below_x[x] + below_y[y]) - count_x[x] - count_y[y]
    # rows that tie with this one in one or both count half or a quarter as much as those below it
    both, length = _runs_of_equal_pairs(x, y)
    concordance += 2 * (_below_among_equal(x, y) + _below_among_equal(y, x)) + length[both]
    counts = np.stack([concordance, n - count_x[x], n - count_y[y]], axis=-1).astype(np.float64)
    terms: Floats = (2 * counts - counts.mean(axis=0)) / n
    return terms


def _runs_of_equal_pairs(x: Ints, y: Ints) -> tuple[Ints, Ints]:
    """Which run of equal (x, y) each row is in, and the runs' lengths."""
    by_both = order(x, y)
    starts, lengths = runs(x[by_both], y[by_both])
    number = np.empty(len(x), dtype=np.int64)
    number[by_both] = np.repeat(np.arange(len(starts)), lengths)
    return number, lengths


def _below_among_equal(group: Ints, rank: Ints) -> Ints:
    """Per row how many rows of its group have a lower rank."""
    by_both = order(group, rank)
    starts, lengths = runs(group[by_both], rank[by_both])
    group_starts = np.repeat(*runs(group[by_both]))
    below = np.empty(len(group), dtype=np.int64)
    below[by_both] = np.repeat(starts - group_starts[starts], lengths)
    return below


def _both_below(x: Ints, y: Ints) -> Ints:
    """Per row how many rows have both a lower x and a lower y.

    In the order of y, and of falling x where y ties, they are the earlier rows with a lower x. The bits of x are taken
    from the highest: among rows that agree in all higher bits, a 1 has every 0 before it below itself, and nothing
    else that this bit decides; a stable partition by the bit makes the groups of the next.
    """
    highest = int(x.max(initial=0))
    at = order(y, highest - x).astype(np.int32)
    value, start = x[at].astype(np.int32), np.zeros(len(x), dtype=np.int32)
    below = np.zeros(len(x), dtype=np.int64)
    place = np.arange(len(x), dtype=np.int32)
    for bit in reversed(range(highest.bit_length())):
        ones = (value >> bit) & 1
        zeros_before = np.cumsum(1 - ones, dtype=np.int32) - (1 - ones)
        zeros_before -= zeros_before[start]
        is_one = ones.astype(bool)
        below[at[is_one]] += zeros_before[is_one]
        zeros = np.bincount(start, weights=1 - ones, minlength=len(x)).astype(np.int32)
        ones_start = start + zeros[start]
        target = np.where(is_one, ones_start + (place - start - zeros_before), start + zeros_before)
        start = np.where(is_one, ones_start, start)
        moved = np.empty((3, len(x)), dtype=np.int32)
        for row, values in zip(moved, (at, value, start), strict=True):
            row[target] = values
        at, value, start = moved
    return below

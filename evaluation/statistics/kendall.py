"""Kendall's tau-b over all rows, as sums over rows.

tau-b = (C - D) / sqrt((C + D + T_x)(C + D + T_y)) with C concordant, D discordant pairs and pairs that only x or only y
ties (Kendall 1945, "The treatment of ties in ranking problems"). Each of the three counts is half of sum_i sum_j k_ij.
In a bootstrap sample with weights w that is a quadratic form in w; it is taken to first order,

    sum_ij w_i w_j k_ij  ~  2 sum_i w_i k_i - k,    k_i = sum_j k_ij,  k = sum_i k_i,  sum_i w_i = n,

which is the U-statistic's projection (Hoeffding 1948) and makes a draw cost a multiplication, not a sort.
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.ordering import order, runs

_DIRECT = 4
"""Of so many bits are the numbers that are compared one by one."""


def kendall_terms(x: Ints, y: Ints) -> Floats:
    """Per row what it adds to ``(C - D, C + D + T_y, C + D + T_x)`` in first order, (3, rows), up to one factor.

    ``x`` and ``y`` (rows,) are dense ranks from 0. tau-b is the first sum over the root of the other two's product.
    """
    n = len(x)
    if not n:
        return np.zeros((3, 0))
    count_x, count_y = np.bincount(x), np.bincount(y)
    below_x, below_y = np.cumsum(count_x) - count_x, np.cumsum(count_y) - count_y
    concordance = 4 * _both_below(x, y) + n - 2 * (below_x[x] + below_y[y]) - count_x[x] - count_y[y]
    # rows that tie with this one in one or both count half or a quarter as much as those below it
    both, length = _runs_of_equal_pairs(x, y)
    concordance += 2 * (_below_among_equal(x, y) + _below_among_equal(y, x)) + length[both]
    counts = np.stack([concordance, n - count_x[x], n - count_y[y]], dtype=np.float64)
    terms: Floats = (2 * counts - counts.mean(axis=1, keepdims=True)) / n
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
    if len(group) == int(group.max(initial=-1)) + 1:
        return np.zeros(len(group), dtype=np.int64)  # every group is one row
    by_both = order(group, rank)
    starts, lengths = runs(group[by_both], rank[by_both])
    group_starts = np.repeat(*runs(group[by_both]))
    below = np.empty(len(group), dtype=np.int64)
    below[by_both] = np.repeat(starts - group_starts[starts], lengths)
    return below


def _both_below(x: Ints, y: Ints) -> Ints:
    """Per row how many rows have both a lower x and a lower y.

    In the order of y, and of falling x where y ties, they are the earlier rows with a lower x. Where x ties, the later
    row takes the lower number, so that numbers are distinct and no tie counts.
    """
    n = len(x)
    at = order(y, int(x.max(initial=0)) - x)
    number = np.empty(n, dtype=np.int32)
    number[order(x[at][::-1], np.arange(n))] = np.arange(n, dtype=np.int32)
    number = number[::-1]
    below = np.empty(n, dtype=np.int64)
    below[at] = _lower_before(number)[number]
    return below


def _lower_before(number: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of each of the numbers 0, 1, ... in any order, how many lower ones stand before it; by number.

    The bits are taken from the highest. Numbers that agree in all higher bits stand together, in their first order: a
    1 has every 0 before it below itself, and nothing else that this bit decides; putting 0s before 1s makes the groups
    of the next. Filled up to a power of two, each group is a row of a matrix and half of it are 0s.
    """
    bits = max(_DIRECT, (len(number) - 1).bit_length())
    groups = np.concatenate([number, np.arange(len(number), 1 << bits, dtype=np.int32)])[None]
    count = np.zeros_like(groups)
    for bit in reversed(range(_DIRECT, bits)):
        ones = ((groups >> bit) & 1).astype(bool)
        zeros_before = np.cumsum(~ones, axis=1, dtype=np.int32)
        zeros, ones, half = ~ones.ravel(), ones.ravel(), (len(groups), 1 << bit)
        above = np.compress(ones, count) + np.compress(ones, zeros_before)
        parts = (np.compress(zeros, groups), np.compress(ones, groups)), (np.compress(zeros, count), above)
        groups, count = (
            np.concatenate([low.reshape(half), high.reshape(half)], axis=1).reshape(-1, 1 << bit) for low, high in parts
        )
    # few numbers are compared one with another faster than they are divided
    for apart in range(1, 1 << _DIRECT):
        count[:, apart:] += groups[:, :-apart] < groups[:, apart:]
    by_number = np.empty(1 << bits, dtype=np.int32)
    by_number[groups.ravel()] = count.ravel()
    return by_number[: len(number)]

"""Orders, runs of equal values and mid-ranks of many short groups of rows at once."""

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints


def order(group: Ints, rank: Ints) -> Ints:
    """Row numbers by group and rank, ties in any order."""
    return np.argsort(_key(group, rank))


def stable_order(group: Ints, rank: Ints) -> Ints:
    """Row numbers by group and rank, ties as they come. Rows sorted by group make this a sort of short runs."""
    return np.argsort(_key(group, rank), kind="stable")


def _key(group: Ints, rank: Ints) -> Ints:
    return group * (int(rank.max(initial=0)) + 1) + rank


def runs(first: Ints, *others: Ints) -> tuple[Ints, Ints]:
    """Where in sorted rows each run of equal rows begins, and how long it is."""
    changes = np.ones(len(first), dtype=bool)
    changes[1:] = first[1:] != first[:-1]
    for key in others:
        changes[1:] |= key[1:] != key[:-1]
    starts = np.flatnonzero(changes)
    return starts, np.diff(np.append(starts, len(first)))


def placed(values: Ints, place: Ints) -> Ints:
    """An array with ``values`` at ``place``, a permutation."""
    result = np.empty_like(values)
    result[place] = values
    return result


def mid_ranks(dense: Ints, counts: Ints) -> Floats:
    """Ranks from 1, ties sharing their mean rank, from the rows' dense ranks and how many rows have each."""
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[dense])


def mid_ranks_within(group: Ints, rank: Ints) -> Floats:
    """Each row's mid-rank from 1 among the rows of its group; ``group`` (rows,) is sorted."""
    by_rank = order(group, rank)
    starts, lengths = runs(group, rank[by_rank])
    firsts = np.repeat(*runs(group))[starts]  # where the run's group begins
    result = np.empty(len(rank))
    result[by_rank] = np.repeat(starts - firsts + (lengths + 1) / 2, lengths)
    return result

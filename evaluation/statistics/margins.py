"""Pairwise accuracy by how far apart the oracle puts the two responses.

An accuracy over all pairs mixes near-ties, which even the oracle would not repeat, with pairs that everybody orders
alike. The decided pairs are divided at the quartiles of the oracle's margin, the same for every scorer.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.few_prompts import equal_shares
from evaluation.statistics.measured import Measured, measured
from evaluation.statistics.pairs import QUARTILES, Binned, Pairs

ACCURACY_BY_MARGIN = "pairwise_accuracy_by_margin"
"""The curve's name; x is the quartile, 1 for the closest pairs."""

MARGIN_WIDTH = 2 * QUARTILES


def margin_numbers(pairs: Pairs) -> Iterator[Binned]:
    """Agreeing pairs and all pairs, by quartile; ties of the scorer count half."""
    quartile = pairs.decided.quartile
    agrees = (1 + np.sign(pairs.difference)) / 2
    yield Binned(agrees, quartile, QUARTILES)
    yield Binned(None, quartile, QUARTILES)


def margin_accuracies(sums: Floats, totals: Floats | None, start: int) -> list[Measured]:
    """One accuracy a quartile. ``start`` is where the numbers' sums begin in ``sums`` and ``totals``."""

    def accuracy(quartile: int, at: Floats) -> Floats:
        return np.asarray(at[..., start + quartile] / at[..., start + QUARTILES + quartile])

    found = []
    for quartile in range(QUARTILES):
        pairs = sums[:, start + QUARTILES + quartile]
        each = measured(partial(accuracy, quartile), sums, totals, pairs > 0, "no pair has such a margin")
        found.append(replace(each, bounds=(0.0, 1.0), exact=equal_shares(pairs[pairs > 0])))
    return found

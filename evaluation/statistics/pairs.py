"""Pairs of responses to one prompt that the oracle tells apart, listed one by one, and sums over them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.ordering import runs

MOST_PAIRS = 20_000_000
"""Listed pairs take 24 bytes each; more of them have no margins and no calibration, and say so."""

QUARTILES = 4

MOST_WEIGHTED_PAIRS = 1_000_000
"""Under a second clustering every pair is weighted anew in every draw."""

TOO_MANY = f"more than {MOST_PAIRS:,} pairs of responses to one prompt"

_LARGEST = 1e150
"""Its square is still a number."""

_NUMBERS_IN_A_BLOCK = 16_000_000


@dataclass(frozen=True)
class Decided:
    """Which pairs of rows the oracle tells apart, each with the response that it prefers first."""

    prompt: Ints
    preferred: Ints
    other: Ints
    """Row numbers."""

    margin: Floats
    """Judgement of the preferred response minus judgement of the other; above 0."""

    seconds: tuple[Ints, Ints] | None
    """Second clusters of the two responses."""

    @cached_property
    def quartile(self) -> Ints:
        """Which quarter of the margins each pair's is in, from 0; the same for every scorer."""
        return equal_mass_bins(self.margin, QUARTILES)

    def scored(self, score: Floats) -> "Pairs":
        """The pairs with what a scorer (rows,) makes of them."""
        with np.errstate(over="ignore"):
            difference = score[self.preferred]
            difference -= score[self.other]
        return Pairs(self, np.clip(difference, -_LARGEST, _LARGEST, out=difference))


@dataclass(frozen=True)
class Pairs:
    """Decided pairs of one scorer."""

    decided: Decided
    difference: Floats
    """Score of the preferred response minus score of the other."""


def list_pairs(prompt: Ints, score: Floats, oracle: Floats, second: Ints | None) -> Pairs | None:
    """Every decided pair of one scorer, as ``decided_pairs`` gives those of all."""
    decided = decided_pairs(prompt, oracle, second)
    return None if decided is None else decided.scored(score)


def decided_pairs(prompt: Ints, oracle: Floats, second: Ints | None) -> Decided | None:
    """Every decided pair; None where there are more than ``MOST_PAIRS``. ``prompt`` (rows,) is sorted."""
    starts, sizes = runs(prompt)
    if (sizes * (sizes - 1) // 2).sum() > MOST_PAIRS:
        return None
    firsts, others = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for size in np.unique(sizes[sizes >= 2]):
        rows = starts[sizes == size]
        one, other = np.triu_indices(int(size), k=1)
        firsts.append((rows[:, None] + one).ravel())
        others.append((rows[:, None] + other).ravel())
    first, other = np.concatenate(firsts), np.concatenate(others)
    margin = oracle[first] - oracle[other]
    if not margin.all():
        decided = margin != 0
        first, other, margin = first[decided], other[decided], margin[decided]
    first, other = np.where(margin > 0, first, other), np.where(margin > 0, other, first)
    seconds = None if second is None else (second[first], second[other])
    return Decided(prompt[first], first, other, np.abs(margin), seconds)


@dataclass(frozen=True)
class Binned:
    """A number of each pair, summed by bin: ``bins`` sums of it."""

    values: Floats
    bin: Ints | None = None
    bins: int = 1


class PairSums:
    """Sums over pairs of several numbers, side by side, after the number of responses; see ``Contributions``."""

    def __init__(self, pairs: Pairs, numbers: Iterable[Binned], responses: Floats) -> None:
        """``responses`` (prompts,): how many rows each prompt has. Numbers are taken one by one."""
        self._decided = pairs.decided if pairs.decided.seconds is not None else None
        # only a second clustering weights pairs anew; those of many scorers are not kept for nothing
        self._numbers = [] if self._decided is None else list(numbers)
        prompt, n_prompts = pairs.decided.prompt, len(responses)
        sums = [responses[:, None]]
        for each in self._numbers or numbers:
            key = prompt if each.bin is None else prompt * each.bins + each.bin
            by_bin = np.asarray(np.bincount(key, each.values, n_prompts * each.bins), dtype=np.float64)
            sums.append(by_bin.reshape(n_prompts, each.bins))
        self._sums = np.concatenate(sums, axis=1)
        self.width = self._sums.shape[1]

    def contributions(self, weights: Floats | None) -> Floats:
        """As ``Contributions`` says, for whole prompts alone: pairs of two second clusters have no weight of one."""
        assert weights is None, "crossed() weights pairs"
        return self._sums[None]

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        """NaN where there are more than ``MOST_WEIGHTED_PAIRS``."""
        totals = np.full((len(prompt_weights), self.width), np.nan)
        decided = self._decided
        if decided is None or decided.seconds is None or len(decided.prompt) > MOST_WEIGHTED_PAIRS:
            return totals
        prompt = decided.prompt
        columns = np.concatenate([_spread_out(each, len(prompt)) for each in self._numbers], axis=1)
        totals[:, 0] = prompt_weights @ self._sums[:, 0]
        block = max(1, _NUMBERS_IN_A_BLOCK // max(1, len(prompt)))
        for first in range(0, len(totals), block):
            draws = slice(first, first + block)
            weight = prompt_weights[draws][:, prompt]
            for second in decided.seconds:
                weight *= second_weights[draws][:, second]
            totals[draws, 1:] = weight @ columns
        return totals


def _spread_out(number: Binned, size: int) -> Floats:
    columns = np.zeros((size, number.bins))
    columns[np.arange(size), 0 if number.bin is None else number.bin] = number.values
    return columns


def equal_mass_bins(values: Floats, bins: int) -> Ints:
    """Which of ``bins`` bins of equally many values each value is in, from 0; equal values are in one bin."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    edges = np.quantile(values, np.arange(1, bins) / bins)
    return np.searchsorted(edges, values, side="left").astype(np.int64)

"""Pairs of responses to one prompt that the oracle tells apart, listed one by one, and sums over them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats, Ints, Known
from evaluation.statistics.ordering import runs

MOST_PAIRS = 20_000_000
"""Listed pairs take 21 bytes each and 8 more for every scorer at work; more of them have no margins and no calibration,
and say so."""

QUARTILES = 4

MOST_WEIGHTED_PAIRS = 1_000_000
"""Under a second clustering every pair is weighted anew in every draw."""

TOO_MANY = f"more than {MOST_PAIRS:,} pairs of responses to one prompt"

_LARGEST = 1e150
"""Its square is still a number."""

_NUMBERS_IN_A_BLOCK = 16_000_000

_PAIRS_IN_A_BLOCK = 1 << 15
"""What is made of so many pairs stays in a core's own cache."""

Rows = NDArray[np.int32]
Bins = NDArray[np.uint8]


@dataclass(frozen=True)
class Decided:
    """Which pairs of rows the oracle tells apart, sorted by prompt, each with the response that it prefers first."""

    prompt: Rows
    preferred: Rows
    other: Rows
    """Row numbers."""

    margin: Floats
    """Judgement of the preferred response minus judgement of the other; above 0."""

    quartile: Bins
    """Which quarter of the margins each pair's is in, from 0; the same for every scorer."""

    seconds: tuple[Ints, Ints] | None
    """Second clusters of the two responses."""

    def scored(self, score: Floats) -> "Pairs":
        """The pairs with what a scorer (rows,) makes of them."""
        difference = np.empty(len(self.preferred))
        with np.errstate(over="ignore"):
            for block in blocks(len(difference)):
                np.subtract(score[self.preferred[block]], score[self.other[block]], out=difference[block])
        return Pairs(self, np.clip(difference, -_LARGEST, _LARGEST, out=difference))


@dataclass(frozen=True)
class Pairs:
    """Decided pairs of one scorer."""

    decided: Decided
    difference: Floats
    """Score of the preferred response minus score of the other."""

    def in_blocks(self) -> "Iterator[Pairs]":
        """The same pairs, few at a time, without the second clusters."""
        of = self.decided
        for block in blocks(len(self.difference)):
            few = Decided(
                of.prompt[block], of.preferred[block], of.other[block], of.margin[block], of.quartile[block], None
            )
            yield Pairs(few, self.difference[block])


def blocks(count: int) -> Iterator[slice]:
    """Of so many pairs, few at a time; of none, none once."""
    return (slice(first, first + _PAIRS_IN_A_BLOCK) for first in range(0, max(count, 1), _PAIRS_IN_A_BLOCK))


def decided_pairs(prompt: Ints, oracle: Floats, second: Ints | None) -> Decided | None:
    """Every decided pair; None where there are more than ``MOST_PAIRS``. ``prompt`` (rows,) is sorted."""
    starts, sizes = runs(prompt)
    if (sizes * (sizes - 1) // 2).sum() > MOST_PAIRS:
        return None
    row = np.arange(len(prompt), dtype=np.int32)
    after = np.repeat(starts + sizes, sizes) - row - 1  # with so many later responses to its prompt a row is paired
    first = np.repeat(row, after)
    other = np.arange(len(first), dtype=np.int32)
    other -= np.repeat((np.cumsum(after) - after - row - 1).astype(np.int32), after)
    margin = oracle[first] - oracle[other]
    if not margin.all():
        decided = margin != 0
        first, other, margin = first[decided], other[decided], margin[decided]
    preferred, other = np.where(margin > 0, first, other), np.where(margin > 0, other, first)
    margin = np.abs(margin, out=margin)
    seconds = None if second is None else (second[preferred], second[other])
    quartile = equal_mass_bins(margin, QUARTILES)
    return Decided(prompt[first].astype(np.int32), preferred, other, margin, quartile, seconds)


@dataclass(frozen=True)
class Binned:
    """A number of each pair, summed by bin: ``bins`` sums of it."""

    values: Floats | None
    """None counts the pairs."""

    bin: Bins | None = None
    bins: int = 1


class PairSums(Known):
    """Sums over pairs of several numbers, side by side, after the number of responses.

    Pairs of two second clusters have no weight of one, so ``crossed`` weights pairs.
    """

    def __init__(self, pairs: Pairs, numbers: Callable[[Pairs], Iterable[Binned]], responses: Floats) -> None:
        """``responses`` (prompts,): how many rows each prompt has. ``numbers`` are asked for of few pairs at a time."""
        super().__init__(_summed_by_prompt(pairs, numbers, responses))
        self._decided = pairs.decided
        weighted = pairs.decided.seconds is not None and len(pairs.difference) <= MOST_WEIGHTED_PAIRS
        # only a second clustering weights pairs anew; those of many scorers are not kept for nothing
        self._columns = np.concatenate([_spread_out(each, pairs) for each in numbers(pairs)], 1) if weighted else None

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        """NaN where there are more than ``MOST_WEIGHTED_PAIRS``."""
        totals = np.full((len(prompt_weights), self.width), np.nan)
        prompt, seconds, columns = self._decided.prompt, self._decided.seconds, self._columns
        if seconds is None or columns is None:
            return totals
        totals[:, 0] = prompt_weights @ self._sums[:, 0]
        block = max(1, _NUMBERS_IN_A_BLOCK // max(1, len(prompt)))
        for first in range(0, len(totals), block):
            draws = slice(first, first + block)
            weight = prompt_weights[draws][:, prompt]
            for second in seconds:
                weight *= second_weights[draws][:, second]
            totals[draws, 1:] = weight @ columns
        return totals


def _summed_by_prompt(pairs: Pairs, numbers: Callable[[Pairs], Iterable[Binned]], responses: Floats) -> Floats:
    """(prompts, 1 + sums): how many responses, and every number summed over the prompt's pairs, by bin."""
    sums = responses[:, None]
    for block in pairs.in_blocks():
        prompt = block.decided.prompt.astype(np.int64)
        first, last = (int(prompt[0]), int(prompt[-1])) if len(prompt) else (0, -1)
        prompt -= first
        found = np.concatenate([_by_bin(each, prompt, last + 1 - first) for each in numbers(block)], axis=1)
        if sums.shape[1] == 1:
            sums = np.concatenate([sums, np.zeros((len(responses), found.shape[1]))], axis=1)
        sums[first : last + 1, 1:] += found  # a prompt may begin in one block and end in the next
    return sums


def _by_bin(number: Binned, prompt: Ints, n_prompts: int) -> Floats:
    """Sums (prompts, bins) over pairs of each prompt and bin."""
    key = prompt if number.bin is None else prompt * number.bins + number.bin
    sums = np.bincount(key, number.values, n_prompts * number.bins)
    return np.asarray(sums, dtype=np.float64).reshape(n_prompts, number.bins)


def _spread_out(number: Binned, pairs: Pairs) -> Floats:
    size = len(pairs.difference)
    columns = np.zeros((size, number.bins))
    columns[np.arange(size), 0 if number.bin is None else number.bin] = 1 if number.values is None else number.values
    return columns


def equal_mass_bins(values: Floats, bins: int) -> Bins:
    """Which of ``bins`` bins of equally many values each value is in, from 0; equal values are in one bin."""
    return in_bins(values, bin_edges(values.copy(), bins))


def bin_edges(values: Floats, bins: int) -> Floats:
    """What divides ``values``, which are put into another order, into ``bins`` bins of equally many, (bins - 1,)."""
    if not len(values):
        return np.zeros(bins - 1)
    return np.quantile(values, np.arange(1, bins) / bins, overwrite_input=True)


def in_bins(values: Floats, edges: Floats) -> Bins:
    """How many edges each value is above."""
    found = np.zeros(len(values), dtype=np.uint8)
    for edge in edges:
        found += values > edge
    return found

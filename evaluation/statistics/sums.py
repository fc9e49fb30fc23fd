"""What each prompt contributes to the correlation of one scorer with one oracle: a few sums.

Rows are kept as deviations from their prompt's means, beside those means, so that nothing cancels when prompts
differ by much more than the responses to one of them.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.bootstrap import Contributions, Floats, Ints
from evaluation.statistics.kendall import kendall_terms
from evaluation.statistics.ordering import mid_ranks, mid_ranks_within
from evaluation.statistics.pairwise_accuracy import pair_counts, weighted_pair_counts

# where each statistic's sums stand among a column's; [n, Sx, Sy, Sxx, Syy, Sxy] unless said otherwise
POOLED = slice(0, 6)
WITHIN = slice(6, 9)
"""Cxx, Cyy, Cxy: sums of squares and products of deviations from the prompt's means."""
BETWEEN = slice(9, 15)
"""Over prompts, of their mean score and mean judgement."""
RANKED = slice(15, 21)
"""Over rows, of their ranks in the whole sample, which stay what they are in every draw."""
PAIRS = slice(21, 24)
"""Agreeing pairs, pairs that the oracle and pairs that the scorer tells apart."""
PROMPT_TAU = slice(24, 26)
"""Whether the prompt has a tau-b of its own, and which."""
PROMPT_RHO = slice(26, 28)
"""The same for Spearman's rho, of ranks among the prompt's responses that stay what they are in every draw."""
KENDALL = slice(28, 31)
"""See ``kendall_terms``."""

_ROUNDING = 1e-9
"""Of sums of squared ranks, which are multiples of a quarter."""


class Side:
    """Scores or judgements (rows,) and their ranks: what of a column does not depend on its other side.

    Columns of one oracle share it. Arguments are those of ``Column``.
    """

    def __init__(self, prompt: Ints, values: Floats, n_prompts: int, second: Ints | None, n_second: int) -> None:
        _, dense, counts = np.unique(values, return_inverse=True, return_counts=True)
        self.dense: Ints = dense
        self.values, self.ranks, self.prompt_ranks = (
            _Deviations(each, prompt, n_prompts, second, n_second)
            for each in (standardised(values), standardised(mid_ranks(dense, counts)), mid_ranks_within(prompt, dense))
        )


class Column(Contributions):
    """One scorer against one oracle on the rows where both are known.

    ``prompt`` (rows,) is sorted and below ``n_prompts``; ``second`` (rows,), where given, is below ``n_second``.
    Scores and judgements are finite. Moments are of standardised values, which no correlation notices.
    """

    width = 31

    def __init__(
        self,
        prompt: Ints,
        score: Floats | Side,
        oracle: Floats | Side,
        n_prompts: int,
        second: Ints | None,
        n_second: int,
    ) -> None:
        x, y = (
            each if isinstance(each, Side) else Side(prompt, each, n_prompts, second, n_second)
            for each in (score, oracle)
        )
        where = (prompt, n_prompts, second, n_second)
        self._cells = _CellSums(x.values, y.values, *where)
        self._rank_cells = _CellSums(x.ranks, y.ranks, *where)
        self._prompt_rank_cells = _CellSums(x.prompt_ranks, y.prompt_ranks, *where)
        self._kendall = summed(kendall_terms(x.dense, y.dense), *where)
        self._pairs = pair_counts(prompt, x.dense, y.dense, n_prompts)
        # only a second clustering weights the rows anew; many columns of a million rows are not kept for nothing
        self._rows = None if second is None else (prompt, x.dense, y.dense, n_prompts, second)

    def contributions(self, weights: Floats | None) -> Floats:
        """Sums (draws, prompts, 31) in the places named above."""
        deviations = self._cells.weighted(weights)
        result = np.empty((*deviations.shape[:2], self.width))
        result[..., POOLED] = self._cells.about_zero(deviations)
        result[..., WITHIN] = _about_weighted_means(deviations)
        n = np.maximum(deviations[..., 0], 1)
        x, y = self._cells.mean_x + deviations[..., 1] / n, self._cells.mean_y + deviations[..., 2] / n
        present = deviations[..., 0] > 0
        moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
        result[..., BETWEEN] = present[..., None] * moments
        result[..., RANKED] = self._rank_cells.about_zero(self._rank_cells.weighted(weights))
        if weights is None or self._rows is None:
            result[..., PAIRS] = self._pairs
        else:
            result[..., PAIRS] = weighted_pair_counts(*self._rows, weights)
        agreeing, by_oracle, by_score = np.moveaxis(result[..., PAIRS], -1, 0)
        result[..., PROMPT_TAU] = _own(2 * agreeing - by_oracle, by_oracle * by_score)
        cxx, cyy, cxy = np.moveaxis(_about_weighted_means(self._prompt_rank_cells.weighted(weights)), -1, 0)
        result[..., PROMPT_RHO] = _own(cxy, np.where((cxx > _ROUNDING) & (cyy > _ROUNDING), cxx * cyy, 0))
        result[..., KENDALL] = weighted(self._kendall, weights)
        return result


class _Deviations:
    """Prompt means m (n_prompts,) of values, deviations d (rows,), sums of d and d^2 by prompt and second cluster."""

    def __init__(self, values: Floats, prompt: Ints, n_prompts: int, second: Ints | None, n_second: int) -> None:
        count = np.maximum(np.bincount(prompt, minlength=n_prompts), 1)
        self.mean: Floats = np.bincount(prompt, weights=values, minlength=n_prompts) / count
        self.rows: Floats = values - self.mean[prompt]
        self.sums = summed([self.rows, self.rows * self.rows], prompt, n_prompts, second, n_second)


class _CellSums:
    """Sums over the rows of each prompt and second cluster: [n, Dx, Dy, Dxx, Dyy, Dxy] of deviations D."""

    def __init__(
        self, x: _Deviations, y: _Deviations, prompt: Ints, n_prompts: int, second: Ints | None, n_second: int
    ) -> None:
        self.mean_x, self.mean_y = x.mean, y.mean
        both = summed([np.ones_like(x.rows), x.rows * y.rows], prompt, n_prompts, second, n_second)
        in_turn = both[..., 0], x.sums[..., 0], y.sums[..., 0], x.sums[..., 1], y.sums[..., 1], both[..., 1]
        self.sums = np.stack(in_turn, axis=-1)

    def weighted(self, weights: Floats | None) -> Floats:
        """Sums of deviations (draws, prompts, 6)."""
        return weighted(self.sums, weights)

    def about_zero(self, deviations: Floats) -> Floats:
        """The same sums of the values themselves: of m + d, for prompt mean m and deviation d."""
        n, dx, dy, dxx, dyy, dxy = np.moveaxis(deviations, -1, 0)
        mx, my = self.mean_x, self.mean_y
        return np.stack(
            [
                n,
                dx + n * mx,
                dy + n * my,
                dxx + (2 * dx + n * mx) * mx,
                dyy + (2 * dy + n * my) * my,
                dxy + dx * my + dy * mx + n * mx * my,
            ],
            axis=-1,
        )


def standardised(values: Floats) -> Floats:
    """Mean 0 and variance 1, safe from overflow; zeros where all values are equal."""
    if not len(values) or values.min() == values.max():
        return np.zeros_like(values)
    values = values / np.abs(values).max()
    values = values - values.mean()
    deviation: Floats = values / values.std()
    return deviation


def summed(
    values: Sequence[Floats] | Floats, prompt: Ints, n_prompts: int, second: Ints | None, n_second: int
) -> Floats:
    """Sums of ``values``, any number of (rows,), over the rows of each prompt and second cluster.

    They are (prompts, seconds, any).
    """
    cell = prompt if second is None else prompt * n_second + second
    sums = [np.bincount(cell, weights=each, minlength=n_prompts * n_second) for each in values]
    return np.stack(sums, axis=-1, dtype=np.float64).reshape(n_prompts, n_second, len(sums))


def weighted(sums: Floats, weights: Floats | None) -> Floats:
    """``sums`` (prompts, seconds, any) with second clusters weighted, (draws, prompts, any)."""
    if weights is None:
        return np.asarray(sums.sum(axis=1)[None])
    return np.asarray(np.tensordot(weights, sums, axes=(1, 1)))


def _about_weighted_means(deviations: Floats) -> Floats:
    """Cxx, Cyy, Cxy about the weighted means of a prompt, from [n, Dx, Dy, Dxx, Dyy, Dxy]; (..., 3)."""
    n = np.maximum(deviations[..., 0], 1)
    x, y = deviations[..., 1] / n, deviations[..., 2] / n
    return deviations[..., 3:] - deviations[..., :1] * np.stack([x * x, y * y, x * y], axis=-1)


def _own(numerator: Floats, square: Floats) -> Floats:
    """Whether a prompt's coefficient exists, and numerator over the root of ``square`` where it does; (..., 2).

    NaN, of a prompt too large, stays NaN: what is unknown is not absent.
    """
    exists = ~(square <= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        coefficient = np.where(exists, numerator / np.sqrt(np.abs(square)), 0.0)
    return np.stack([exists.astype(np.float64), coefficient], axis=-1)

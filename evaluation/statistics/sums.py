"""What each prompt contributes to the correlation of one scorer with one oracle: a few sums.

Rows are kept as deviations from their prompt's means, beside those means, so that nothing cancels when prompts
differ by much more than the responses to one of them.
"""

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.pairwise_accuracy import pair_counts, weighted_pair_counts

# where each statistic's sums stand among a column's; [n, Sx, Sy, Sxx, Syy, Sxy] unless said otherwise
POOLED = slice(0, 6)
WITHIN = slice(6, 9)
"""Cxx, Cyy, Cxy: sums of squares and products of deviations from the prompt's means."""
BETWEEN = slice(9, 15)
"""Over prompts, of their mean score and mean judgement."""
RANKED = slice(15, 21)
"""Over rows, of their ranks in the whole sample, which stay what they are in every draw."""
PAIRS = slice(21, 23)
"""Agreeing and decided pairs."""


class Column:
    """One scorer against one oracle on the rows where both are known; see ``bootstrap.Contributions``.

    ``prompt`` (rows,) is sorted and below ``n_prompts``; ``second`` (rows,), where given, is below ``n_second``.
    Scores and judgements are finite. Moments are of standardised values, which no correlation notices.
    """

    width = 23

    def __init__(
        self, prompt: Ints, score: Floats, oracle: Floats, n_prompts: int, second: Ints | None, n_second: int
    ) -> None:
        self._cells = _CellSums(_standardised(score), _standardised(oracle), prompt, n_prompts, second, n_second)
        ranks = [np.unique(values, return_inverse=True, return_counts=True)[1:] for values in (score, oracle)]
        mid_ranks = [_standardised(_mid_ranks(*each)) for each in ranks]
        self._rank_cells = _CellSums(mid_ranks[0], mid_ranks[1], prompt, n_prompts, second, n_second)
        self._pairs = pair_counts(prompt, ranks[0][0], ranks[1][0], n_prompts)
        # only a second clustering weights the rows anew; many columns of a million rows are not kept for nothing
        self._rows = None if second is None else (prompt, ranks[0][0], ranks[1][0], n_prompts, second)

    def contributions(self, weights: Floats | None) -> Floats:
        """Sums (draws, prompts, 23) in the places named above."""
        deviations = self._cells.weighted(weights)
        result = np.empty((*deviations.shape[:2], self.width))
        result[..., POOLED] = self._cells.about_zero(deviations)
        n = np.maximum(deviations[..., 0], 1)
        x, y = deviations[..., 1] / n, deviations[..., 2] / n
        result[..., WITHIN] = deviations[..., 3:] - deviations[..., :1] * np.stack([x * x, y * y, x * y], axis=-1)
        x, y = self._cells.mean_x + x, self._cells.mean_y + y
        present = deviations[..., 0] > 0
        moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
        result[..., BETWEEN] = present[..., None] * moments
        result[..., RANKED] = self._rank_cells.about_zero(self._rank_cells.weighted(weights))
        if weights is None or self._rows is None:
            result[..., PAIRS] = self._pairs
        else:
            result[..., PAIRS] = weighted_pair_counts(*self._rows, weights)
        return result


class _CellSums:
    """Sums over the rows of each prompt and second cluster: [n, Dx, Dy, Dxx, Dyy, Dxy] of deviations D."""

    def __init__(self, x: Floats, y: Floats, prompt: Ints, n_prompts: int, second: Ints | None, n_second: int) -> None:
        self.mean_x, dx = _about_prompt_means(x, prompt, n_prompts)
        self.mean_y, dy = _about_prompt_means(y, prompt, n_prompts)
        cell = prompt if second is None else prompt * n_second + second
        self.sums = np.stack(
            [
                np.bincount(cell, weights=values, minlength=n_prompts * n_second).reshape(n_prompts, n_second)
                for values in (np.ones_like(dx), dx, dy, dx * dx, dy * dy, dx * dy)
            ],
            axis=-1,
        )

    def weighted(self, weights: Floats | None) -> Floats:
        """Sums of deviations (draws, prompts, 6)."""
        if weights is None:
            return np.asarray(self.sums.sum(axis=1)[None])
        return np.asarray(np.tensordot(weights, self.sums, axes=(1, 1)))

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


def _about_prompt_means(values: Floats, prompt: Ints, n_prompts: int) -> tuple[Floats, Floats]:
    """Prompt means (n_prompts,) and each row's deviation from its prompt's."""
    count = np.maximum(np.bincount(prompt, minlength=n_prompts), 1)
    means = np.bincount(prompt, weights=values, minlength=n_prompts) / count
    return means, values - means[prompt]


def _standardised(values: Floats) -> Floats:
    """Mean 0 and variance 1, safe from overflow; zeros where all values are equal."""
    if not len(values) or values.min() == values.max():
        return np.zeros_like(values)
    values = values / np.abs(values).max()
    values = values - values.mean()
    deviation: Floats = values / values.std()
    return deviation


def _mid_ranks(dense: Ints, counts: Ints) -> Floats:
    """Ranks from 1, ties sharing their mean rank, from the rows' dense ranks and how many rows have each."""
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[dense])

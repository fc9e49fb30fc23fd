"""What is left of a scorer's agreement within prompts once the responses' length is held fixed.

With r_xy, r_xz, r_yz the within-prompt correlations of scores x, judgements y and length z = log(1 + tokens),
(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)) is the partial correlation given length and prompt (Fisher 1924):
the r of what remains of x and y after regressing both on length with an intercept for each prompt.
"""

import numpy as np

from evaluation.statistics.bootstrap import Contributions, Floats, Ints
from evaluation.statistics.influence import influences
from evaluation.statistics.measured import Measured, measured
from evaluation.statistics.sums import standardised, summed, weighted

PARTIAL, SCORER_LENGTH, ORACLE_LENGTH = (
    "pearson_within_partial_length",
    "pearson_within_scorer_length",
    "pearson_within_oracle_length",
)
LENGTH_STATISTICS = (PARTIAL, SCORER_LENGTH, ORACLE_LENGTH)

_VANISHED = 1e-10
"""A variance of standardised values, or what a correlation leaves of one, that is rounding."""


class LengthSums(Contributions):
    """Per prompt [n, present, Cxx, Cyy, Czz, Cxy, Cxz, Cyz].

    ``prompt`` (rows,) is sorted; score, oracle and length (rows,) are finite.
    """

    width = 8

    def __init__(
        self,
        prompt: Ints,
        score: Floats,
        oracle: Floats,
        length: Floats,
        n_prompts: int,
        second: Ints | None,
        n_second: int,
    ) -> None:
        count = np.maximum(np.bincount(prompt, minlength=n_prompts), 1)
        x, y, z = (
            values - (np.bincount(prompt, weights=values, minlength=n_prompts) / count)[prompt]
            for values in map(standardised, (score, oracle, length))
        )
        moments = [np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z]
        self._cells = summed(moments, prompt, n_prompts, second, n_second)

    def contributions(self, weights: Floats | None) -> Floats:
        sums = weighted(self._cells, weights)
        n = np.maximum(sums[..., :1], 1)
        x, y, z = np.moveaxis(sums[..., 1:4] / n, -1, 0)
        squares = np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=-1)
        present = (sums[..., :1] > 0).astype(np.float64)
        return np.concatenate([sums[..., :1], present, sums[..., 4:] - sums[..., :1] * squares], axis=-1)


def length_measures(sums: Floats, totals: Floats | None) -> dict[str, Measured]:
    """By name, the partial correlation and those of scorer and oracle with length, all within prompts."""
    several = sums[:, 0] >= 2
    whole = sums.sum(axis=0)
    parts = (
        (PARTIAL, _partial, (2, 3, 4), "score, judgement or length leaves nothing to compare within prompts"),
        (SCORER_LENGTH, _scorer_length, (2, 4), "no prompt's scores, or no prompt's lengths, differ"),
        (ORACLE_LENGTH, _oracle_length, (3, 4), "no prompt's judgements, or no prompt's lengths, differ"),
    )
    found = {}
    for name, function, variances, missing in parts:
        # each prompt's mean takes a degree of freedom, and length takes another
        spare = whole[0] - whole[1] - (name == PARTIAL)
        exists = spare >= 2 and (whole[list(variances)] > _VANISHED * max(whole[0], 1)).all()
        contributing = several if exists else np.zeros_like(several)
        reason = missing if spare >= 2 else "fewer responses than a correlation within prompts needs"
        found[name] = measured(function, sums, totals, contributing, reason)
    return found


def length_influences(sums: Floats) -> dict[str, Floats | None]:
    """By name, how far each prompt (prompts,) moves atanh of these correlations."""
    functions = ((PARTIAL, _partial), (SCORER_LENGTH, _scorer_length), (ORACLE_LENGTH, _oracle_length))
    return {name: influences(function, sums) for name, function in functions}


def _partial(totals: Floats) -> Floats:
    xx, yy, zz, xy, xz, yz = np.moveaxis(totals[..., 2:], -1, 0)
    left_x, left_y = xx * zz - xz * xz, yy * zz - yz * yz
    exists = (left_x > _VANISHED * xx * zz) & (left_y > _VANISHED * yy * zz)
    r = np.clip((xy * zz - xz * yz) / np.sqrt(np.where(exists, left_x * left_y, 1)), -1, 1)
    return np.asarray(np.where(exists, r, np.nan))


def _scorer_length(totals: Floats) -> Floats:
    return _correlation(totals[..., 2], totals[..., 4], totals[..., 6])


def _oracle_length(totals: Floats) -> Floats:
    return _correlation(totals[..., 3], totals[..., 4], totals[..., 7])


def _correlation(xx: Floats, yy: Floats, xy: Floats) -> Floats:
    return np.asarray(np.clip(xy / np.sqrt(xx * yy), -1, 1))

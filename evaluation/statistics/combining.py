"""Estimates of several runs as one, from sums over them: what the history makes of a group of rows.

A run's rows, at several temperatures or by several scorers, stand on the same prompts, so they count as moving
together: their errors are added, the most that any dependence allows. So do those of different runs as far as they
share prompts: ``shared_prompts`` makes one number of that.

The interval is made of the rows' own ones: with l_i the lower end, the lower end of sum w_i y_i lies as far below it
as an error would reach that has y_i - l_i in the place of s_i, and the upper end likewise (Zou and Donner 2008, Stat.
Med. 27:1693). So it is as wide and as skewed as they are, and that of one row is the row's.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CORRELATIONS = (
    "pearson_within",
    "pearson_pooled",
    "pearson_between",
    "spearman_pooled",
    "kendall_pooled",
    "pearson_within_partial_length",
    "pearson_within_scorer_length",
    "pearson_within_oracle_length",
    "pearson_within_range_corrected",
)
"""Statistics that are combined on the scale of z = atanh r (Fisher 1921)."""


LARGEST = 1e50
"""No measurement is beyond it in size, and squares of what is not can be added up."""
_SMALLEST_ERROR = 1e-9
"""A smaller standard error is rounding, and its inverse square no weight."""
_ONE = 1 - 1e-12

Numbers = npt.NDArray[np.float64]
"""(rows,), NaN where there is none."""


class Terms(NamedTuple):
    """What each row adds to the sums; NaN where it has no such part."""

    y: Numbers
    """The estimate on its scale."""
    s: Numbers
    """Its standard error there."""
    w: Numbers
    """Its weight; NaN for rows that do not count."""
    below: Numbers
    """How far the lower end of its interval lies below y, on the same scale."""
    above: Numbers
    """The same of the upper end."""


def plain_terms(estimate: Numbers, error: Numbers, lower: Numbers, upper: Numbers) -> Terms:
    """Of ``mean``: the rows in their own unit, each with the weight 1."""
    whole = _whole(error, lower, upper)
    s, lower, upper = (np.where(whole, each, np.nan) for each in (error, lower, upper))
    w = np.where(np.abs(estimate) <= LARGEST, 1.0, np.nan)
    return _terms(estimate, s, w, lower, upper)


def weighted_terms(
    correlation: npt.NDArray[np.bool_], estimate: Numbers, error: Numbers, lower: Numbers, upper: Numbers
) -> Terms:
    """Of ``inverse_variance``; ``correlation`` says of which rows the scale is that of atanh r."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        within = np.abs(estimate) < 1
        usable = (np.abs(estimate) <= LARGEST) & _whole(error, lower, upper) & (error > _SMALLEST_ERROR)
        y = np.where(correlation, np.arctanh(estimate), estimate)
        s = np.where(correlation, error / (1 - estimate**2), error)
        w = np.where(usable & (within | ~correlation), s**-2.0, np.nan)
        ends = (np.where(correlation, np.arctanh(np.clip(end, -_ONE, _ONE)), end) for end in (lower, upper))
        return _terms(y, s, w, *ends)


def _whole(*parts: Numbers) -> npt.NDArray[np.bool_]:
    """Where no part of an interval is missing or past all measure; without it no error counts."""
    whole: npt.NDArray[np.bool_] = np.logical_and.reduce([np.abs(each) <= LARGEST for each in parts])
    return whole


def _terms(y: Numbers, s: Numbers, w: Numbers, lower: Numbers, upper: Numbers) -> Terms:
    with np.errstate(invalid="ignore"):
        below, above = np.maximum(y - lower, 0.0), np.maximum(upper - y, 0.0)
    return Terms(y, s, w, below, above)


class Spread(NamedTuple):
    """The greatest variance of sum w_i e_i, e_i being the errors, as ``shared_prompts.joint_errors`` has it."""

    error: float
    below: float
    """The same with y_i less the lower end of its interval in the place of s_i."""
    above: float
    """The same with the upper end less y_i."""


@dataclass(frozen=True)
class Sums:
    """Over rows i of runs R, y_i being the number on its scale, s_i its standard error there, w_i its weight."""

    n: int
    """Rows with a weight."""

    n_runs: int
    weight: float
    """sum w_i"""

    weighted: float
    """sum w_i y_i"""

    squares: float
    """sum w_i y_i^2"""

    spread: Spread | None
    """None where a standard error, and with it an interval, is missing."""

    apart: bool = True
    """Whether no two runs share a prompt."""


@dataclass(frozen=True)
class Combined:
    """One number for several, its interval and its standard error in the statistic's own unit."""

    estimate: float
    lower: float | None
    upper: float | None
    standard_error: float | None
    heterogeneity: float | None = None


def mean(sums: Sums) -> Combined:
    """The plain mean, w_i = 1 and y_i in its own unit."""
    estimate = sums.weighted / sums.weight
    if sums.spread is None:
        return Combined(estimate, None, None, None)
    error, below, above = (math.sqrt(each) / sums.weight for each in sums.spread)
    return Combined(estimate, estimate - below, estimate + above, error)


def inverse_variance(sums: Sums, correlation: bool) -> Combined:
    """The mean weighted by w_i = 1 / s_i^2, on the scale of z = atanh r for correlations (s_i = error / (1 - r^2)).

    It estimates the weighted average of what each run would find without error, alike or not (Rice, Higgins and Lumley
    2018, J. R. Stat. Soc. A 181:205, fixed effects in the plural). How unlike they are is ``heterogeneity``, I^2 =
    (Q - k + 1) / Q at 0 or above (Higgins and Thompson 2002, Stat. Med. 21:1539): the share of the differences between
    runs that their errors do not explain. None of a single run, where a run has several rows, and where runs may share
    prompts: Q takes errors for independent.
    """
    y = sums.weighted / sums.weight
    assert sums.spread is not None, "a row without a standard error has no weight"
    error, below, above = (math.sqrt(each) / sums.weight for each in sums.spread)
    lower, upper = y - below, y + above
    heterogeneity = None
    if sums.apart and sums.n == sums.n_runs > 1:
        q = sums.squares - sums.weighted * y
        heterogeneity = max(0.0, 1 - (sums.n - 1) / q) if q > 0 else 0.0
    if correlation:
        y, lower, upper = math.tanh(y), math.tanh(lower), math.tanh(upper)
        error *= 1 - y * y
    return Combined(y, lower, upper, error, heterogeneity)

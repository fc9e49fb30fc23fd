"""Statistics and numbers as people read them: one spelling for reports, tables, figures and pages."""

import re
from collections.abc import Sequence
from enum import StrEnum

from markupsafe import Markup, escape

from evaluation.statistics.above_floor import MEAN_ABOVE_FLOOR
from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.statistics.averages import MEAN
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.policy_wins import WIN_RATE as POLICY_WINS
from evaluation.statistics.win_rate import DISCRETE, LEAD, LENGTH, LENGTH_CONTROLLED, WIN_RATE

_LABELS = {
    "pearson_within": "r within prompts",
    "pearson_pooled": "r pooled",
    "pearson_between": "r between prompts",
    "spearman_pooled": "Spearman's ρ pooled",
    "pairwise_accuracy": "pairwise accuracy",
    "kendall_pooled": "Kendall's τ pooled",
    "spearman_per_prompt": "ρ per prompt",
    "kendall_per_prompt": "τ per prompt",
    "pearson_within_partial_length": "r within, length held fixed",
    "pearson_within_scorer_length": "r within, scorer and length",
    "pearson_within_oracle_length": "r within, oracle and length",
    "pearson_within_range_corrected": "r within, at the spread of T = 1",
    "pearson_within_trend": "change of atanh r per unit of T",
    "calibration_slope": "calibration slope",
    "calibration_brier": "Brier score",
    "calibration_ece": "calibration error",
    "calibration_temperature": "temperature of calibration",
    "calibration_tempered_slope": "calibration slope, tempered",
    "calibration_tempered_brier": "Brier score, tempered",
    "calibration_tempered_ece": "calibration error, tempered",
    "sd": "standard deviation",
    "sd_within": "standard deviation within prompts",
    "best_of_n_best": "best N",
    "best_of_n_gao_alpha": "best of N, Gao's α",
    "best_of_n_gao_beta": "best of N, Gao's β",
    "best_of_n_regret": "regret of best of N",
    "best_of_n_decline": "decline of best of N",
    MEAN: "mean",
    MEAN_ABOVE_FLOOR: "mean above the floor",
    WIN_RATE: "win rate",
    DISCRETE: "wins, a tie half",
    LENGTH_CONTROLLED: "length-controlled win rate",
    LENGTH: "characters",
}

_SYMBOLS = {"pearson": "r", "pairwise": "accuracy"}

_HALF_BY_CHANCE = ("pairwise_accuracy", WIN_RATE, DISCRETE, LENGTH_CONTROLLED)

CORRELATIONS = ("pearson_within", "pearson_pooled", "pearson_between", "spearman_pooled", "pairwise_accuracy")
"""What is asked of a scorer and an oracle, the most telling first."""


class Reading(StrEnum):
    """Where an interval lies."""

    ABOVE = "above chance"
    BELOW = "below chance"
    UNRESOLVED = "not resolved"
    UNDEFINED = "undefined"


def label(statistic: str) -> str:
    """``r within prompts`` for ``pearson_within``, ``lead over length`` for a lead; an unknown name as it is."""
    if statistic.startswith(LEAD_WITHIN):
        return f"lead over {statistic.removeprefix(LEAD_WITHIN)}"
    if statistic.startswith(POLICY_WINS):
        return f"win rate over {statistic.removeprefix(POLICY_WINS)}"
    rate, lead, reference = statistic.partition(LEAD)
    return f"{_LABELS.get(rate, rate)} over {reference}" if lead else _LABELS.get(statistic, statistic)


def chance(statistic: str) -> float:
    """What the statistic is for a scorer that knows nothing."""
    return 0.5 if statistic in _HALF_BY_CHANCE or statistic.startswith(POLICY_WINS) else 0.0


def reading(estimate: Estimate) -> Reading:
    """Where the interval lies against chance."""
    level = chance(estimate.statistic)
    if estimate.lower is None or estimate.upper is None:
        return Reading.UNDEFINED
    if estimate.lower > level:
        return Reading.ABOVE
    return Reading.BELOW if estimate.upper < level else Reading.UNRESOLVED


def number(value: float, decimals: int = 2) -> str:
    """With a real minus sign, so that columns align; never a negative zero."""
    text = f"{value:.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")


def interval(lower: float, upper: float) -> str:
    """``[0.31, 0.54]``"""
    return f"[{number(lower)}, {number(upper)}]"


def ranged(estimate: Estimate | None, scale: float = 1.0, decimals: int = 3) -> str:
    """``0.520 [0.450, 0.590]``, the number alone where it has no interval, a dash where there is none."""
    if estimate is None or estimate.estimate is None:
        return "–"
    text = number(scale * estimate.estimate, decimals)
    if estimate.lower is None or estimate.upper is None:
        return text
    return f"{text} [{number(scale * estimate.lower, decimals)}, {number(scale * estimate.upper, decimals)}]"


def percent(estimate: Estimate | None) -> str:
    """A share as ``52.0 [45.0, 59.0]``."""
    return ranged(estimate, 100, 1)


def told(estimate: Estimate) -> str:
    """``r = 0.52 [0.45, 0.59]``, or why there is no number."""
    symbol = _SYMBOLS.get(estimate.statistic.partition("_")[0]) or label(estimate.statistic)
    if estimate.estimate is None:
        return f"{symbol} undefined: {estimate.undefined_reason}"
    if estimate.lower is None or estimate.upper is None:
        return f"{symbol} = {number(estimate.estimate)}, no interval: {estimate.undefined_reason}"
    return f"{symbol} = {number(estimate.estimate)} {interval(estimate.lower, estimate.upper)}"


def temperatures_told(chosen: Sequence[float | None], grid: Sequence[float | None]) -> str:
    """`` at T = 0.3 to 0.7 and 2``: neighbours in the grid told as a range."""
    if None in chosen:
        return ""
    runs: list[list[float | None]] = []
    for temperature in chosen:
        if runs and grid.index(temperature) == grid.index(runs[-1][-1]) + 1:
            runs[-1].append(temperature)
        else:
            runs.append([temperature])
    return f" at T = {listed([f'{run[0]:g} to {run[-1]:g}' if len(run) > 1 else f'{run[0]:g}' for run in runs])}"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``"""
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


def unbroken(text: str) -> str:
    """The text with ``T = 2`` and ``[0.1, 0.2]`` kept on one line each."""
    space = "\N{NO-BREAK SPACE}"
    return re.sub(r"\[(\S+) (\S+)\]", rf"[\1{space}\2]", text.replace(" = ", f"{space}={space}"))


def breakable(name: str) -> Markup:
    """A name in HTML that is broken behind a slash or colon where it does not fit."""
    return Markup(f"<span>{re.sub('(?<=[/:])(?=.)', '<wbr>', escape(name))}</span>")  # noqa: S704 - it is escaped

"""A gate for continuous integration: are these scorers still trusted where it matters?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.conditions import Condition
from evaluation.scorers.controls import is_control
from evaluation.statistics.estimate import Estimate
from evaluation.wording import told
from trainer.errors import InvalidInput


@dataclass(frozen=True)
class Checked:
    """One estimate that the gate looked at."""

    estimate: Estimate
    passes: bool

    def sentence(self) -> str:
        """``rm against judge at T = 1.5: r = 0.52 [0.45, 0.59]``"""
        each = self.estimate
        where = "" if each.temperature is None else f" at T = {each.temperature:g}"
        which = "" if each.stratum == "all" else f", {each.stratum}"
        return f"{each.scorer} against {each.oracle}{where}{which}: {told(each)}"


def gate(estimates: Sequence[Estimate], where: Condition, statistic: str, min_lower: float) -> list[Checked]:
    """Every estimate of ``statistic`` that ``where`` chooses; it passes if its interval lies above ``min_lower``.

    Of all responses unless ``where`` asks for a stratum (``stratum == 'untruncated'``), and of learned scorers where
    there are any: a trivial control is no scorer to trust. An estimate without an interval does not pass. Raises
    InvalidInput where nothing is left to check, for then a gate would pass whatever happened.
    """
    if not math.isfinite(min_lower):
        raise InvalidInput(f"--min-lower: {min_lower} is no bound; give a number")
    of_statistic = [each for each in estimates if each.statistic == statistic and each.scorer != each.oracle]
    if not of_statistic:
        there = ", ".join(dict.fromkeys(each.statistic for each in estimates)) or "none"
        raise InvalidInput(f"no estimate of {statistic!r}; there are: {there}")
    chosen = [each for each in of_statistic if where(each)]
    chosen = [each for each in chosen if each.stratum == "all"] or chosen
    chosen = [each for each in chosen if not is_control(each.scorer)] or chosen
    if not chosen:
        raise InvalidInput(f"no estimate of {statistic} fits --where, so there is nothing to check; loosen it")
    return [Checked(each, each.lower is not None and each.lower >= min_lower) for each in chosen]

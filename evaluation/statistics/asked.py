"""How statistics of one temperature and stratum are asked for together and told one by one.

A *family* knows some statistics. It asks for sums over prompts, all families are drawn for at once, and each then
tells what it measured to the *record*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from evaluation.statistics.bootstrap import Bootstrap, Contributions, Floats
from evaluation.statistics.estimate import Comparison, CurvePoint, Estimate
from evaluation.statistics.interval import Interval, Scale
from evaluation.statistics.measured import Frame, Measured
from evaluation.statistics.sample import Key, Sample

Totals = Mapping[int, Floats | None]
"""Of every asked column, by its identity, the sums in every draw; None where there is one prompt."""


@dataclass
class Agreement:
    """What one temperature and stratum say, and what is needed to compare it with others draw by draw."""

    estimates: list[Estimate] = field(default_factory=list)
    points: list[CurvePoint] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    within: dict[tuple[str, str], Measured] = field(default_factory=dict)
    """r within prompts by scorer and oracle."""

    spread: dict[str, Measured] = field(default_factory=dict)
    """Standard deviation within prompts by scorer or oracle."""


@dataclass
class Record:
    """Where families tell what they measured."""

    sample: Sample
    frame: Frame
    found: Agreement = field(default_factory=Agreement)
    constant: dict[Key, int] = field(default_factory=dict)
    """Of each column the number of prompts whose scores, or whose judgements, are all equal."""

    def estimate(self, key: Key, statistic: str, found: Measured, scale: Scale = "plain") -> None:
        """A row of ``correlations``."""
        found = self._of_this_sample(key, found)
        n_dropped = self.sample.n_dropped(key)
        self.found.estimates.append(self.frame.estimate(key.scorer, key.oracle, statistic, found, n_dropped, scale))

    def estimate_with(self, key: Key, statistic: str, found: Measured, interval: Interval) -> None:
        """A row of ``correlations`` whose interval was made elsewhere."""
        numbers = self.frame.numbers(key.oracle, self._counted(key, found), self.sample.n_dropped(key), interval)
        self.found.estimates.append(Estimate(scorer=key.scorer, statistic=statistic, **numbers))

    def point(self, key: Key, curve: str, x: float, found: Measured) -> None:
        """A row of ``curves``."""
        found, n_dropped = self._of_this_sample(key, found), self.sample.n_dropped(key)
        self.found.points.append(self.frame.point(key.scorer, key.oracle, curve, x, found, n_dropped))

    def _of_this_sample(self, key: Key, found: Measured) -> Measured:
        """As ``_counted``; unanimous prompts say nothing of second clusters."""
        return replace(self._counted(key, found), exact=found.exact and self.sample.n_second is None)

    def _counted(self, key: Key, found: Measured) -> Measured:
        """With the number of constant prompts, which is a matter of the rows and not of the statistic."""
        if found.n_constant_prompts is not None:
            return found
        return replace(found, n_constant_prompts=self.constant.get(key))


class Family(Protocol):
    """Some statistics."""

    asked: list[Contributions]
    """The sums to draw for."""

    def tell(self, totals: Totals, record: Record) -> None:
        """Record every statistic of the family."""
        ...


def drawn(families: Sequence[Family], bootstrap: Bootstrap) -> Totals:
    """What every family asked for, from the same draws."""
    asked = [each for family in families for each in family.asked]
    return {id(each): total for each, total in zip(asked, bootstrap.totals(asked), strict=True)}


def undrawn(totals: Floats | None, why: str) -> tuple[Floats | None, str | None]:
    """No totals, and why, where all of them are NaN: the family cannot be drawn this way."""
    if totals is None or not np.isnan(totals[:, -1]).all():
        return totals, None
    return None, why


def because(found: Measured, why: str | None) -> Measured:
    """The same, its interval missing because of ``why``."""
    return found if why is None or found.value is None else replace(found, reason=why)

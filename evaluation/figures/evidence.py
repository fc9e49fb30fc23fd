"""What figures are drawn from: whatever of a run is known. A figure asks for its part and is left out without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.scorers.controls import family, is_control
from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.estimate import Comparison, CurvePoint, Estimate, oracles_of


@dataclass(frozen=True)
class Responses:
    """Some or all responses of a run as columns (rows,); NaN is missing."""

    temperature: Floats
    degenerate: NDArray[np.bool_]
    """Where a response is no text any more; see ``statistics.degeneration``."""

    scores: Mapping[str, Floats]
    judgements: Mapping[str, Floats]
    """By oracle."""

    n_total: int
    """How many there are; fewer columns are a sample of them."""


@dataclass(frozen=True)
class Series:
    """One metric of a training run over the steps of one stage."""

    stage: str
    name: str
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Evidence:
    """A run's numbers; what is not known is empty."""

    estimates: Sequence[Estimate] = ()
    points: Sequence[CurvePoint] = ()
    comparisons: Sequence[Comparison] = ()
    responses: Responses | None = None
    metrics: Sequence[Series] = ()
    every_alike: bool = False
    """Whether of several figures alike, such as a scatter plot for each scorer, all are drawn, or the first alone."""

    @property
    def oracles(self) -> list[str]:
        """Oracles that scorers are compared with, in the run's order."""
        return oracles_of(self.estimates)

    def about(self, oracle: str, *statistics: str, graded: bool = True) -> dict[str, list[Estimate]]:
        """By scorer its estimates of ``statistics`` in order of temperature; ``graded`` leaves the pooled ones out."""
        found: dict[str, list[Estimate]] = {}
        for each in self.estimates:
            fits = each.oracle == oracle != each.scorer and each.stratum == "all" and each.statistic in statistics
            if fits and (each.temperature is not None) == graded:
                found.setdefault(each.scorer, []).append(each)
        return {name: sorted(rows, key=lambda each: each.temperature or 0.0) for name, rows in found.items()}

    def described(self, name: str, statistic: str) -> list[Estimate]:
        """A statistic of one series by itself, such as its mean, in order of temperature."""
        rows = [each for each in self.estimates if each.scorer == each.oracle == name and each.stratum == "all"]
        rows = [each for each in rows if each.statistic == statistic and each.temperature is not None]
        return sorted(rows, key=lambda each: each.temperature or 0.0)


def learned(names: Sequence[str] | Mapping[str, object]) -> list[str]:
    """Scorers that are neither trivial nor untrained."""
    return [name for name in names if not is_control(name) and family(name) == name]


def spread_over(temperatures: Sequence[float], most: int) -> list[float | None]:
    """At most ``most`` of the temperatures, the lowest and the highest among them; None alone where there are none."""
    if not temperatures:
        return [None]
    if len(temperatures) <= most:
        return list(temperatures)
    places = np.linspace(0, len(temperatures) - 1, most).round().astype(int)
    return [temperatures[place] for place in places]

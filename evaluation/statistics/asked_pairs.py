"""Pairs of responses that the oracle tells apart: accuracy by margin of every scorer, calibration of learned ones."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from evaluation.statistics.asked import Record, Totals, because, undrawn
from evaluation.statistics.bootstrap import Contributions
from evaluation.statistics.calibration import (
    RELIABILITY,
    Fit,
    calibration_measures,
    calibration_numbers,
    confidence_edges,
    fit_slope,
    temperature_of,
)
from evaluation.statistics.cores import shared_by_cores
from evaluation.statistics.margins import ACCURACY_BY_MARGIN, MARGIN_WIDTH, margin_accuracies, margin_numbers
from evaluation.statistics.measured import Measured
from evaluation.statistics.pairs import MOST_WEIGHTED_PAIRS, TOO_MANY, Binned, Decided, Pairs, PairSums, decided_pairs
from evaluation.statistics.sample import Key, Sample, by_rows

Temperatures = Mapping[tuple[str, str], float]
"""By scorer and oracle, what score differences are to be divided by; absent where nothing would calibrate them."""


class DecidedPairs:
    """See ``asked.Family``; None stands for a column with more pairs than can be listed."""

    def __init__(
        self, sample: Sample, single: Sequence[Key], learned: Collection[str], temperatures: Temperatures | None
    ) -> None:
        """``temperatures`` calibrate; None fits them here."""
        self._fitted_here = temperatures is None
        self._fits: dict[Key, Fit] = {}
        self._columns: dict[Key, PairSums | None] = dict.fromkeys(single)
        for keys in by_rows(single):
            decided = _decided(sample, keys[0])
            if decided is None:
                continue
            found = shared_by_cores(partial(_fitted_and_summed, sample, decided, learned, temperatures), keys)
            self._columns |= {key: column for key, (_, column) in zip(keys, found, strict=True)}
            self._fits |= {key: fit for key, (fit, _) in zip(keys, found, strict=True) if fit is not None}
        self.asked: list[Contributions] = [each for each in self._columns.values() if each is not None]

    def tell(self, totals: Totals, record: Record) -> None:
        for key, column in self._columns.items():
            if column is None:
                record.point(key, ACCURACY_BY_MARGIN, 1.0, Measured(None, None, 0, 0, TOO_MANY))
                continue
            sums, total = column.contributions(None)[0], totals[id(column)]
            total, why = undrawn(total, f"more than {MOST_WEIGHTED_PAIRS:,} pairs to weight by second cluster")
            for quartile, found in enumerate(margin_accuracies(sums, total, 1), start=1):
                record.point(key, ACCURACY_BY_MARGIN, float(quartile), because(found, why))
            if key not in self._fits:
                continue
            named, bins = calibration_measures(
                sums, total, 1 + MARGIN_WIDTH, self._fits[key], fitted_here=self._fitted_here
            )
            for name, found in named.items():
                record.estimate(key, name, because(found, why))
            for confidence, found in bins:
                record.point(key, RELIABILITY, confidence, because(found, why))


def fit_temperatures(sample: Sample, scorers: Sequence[str], oracles: Sequence[str]) -> dict[tuple[str, str], float]:
    """What calibrates each scorer to each oracle in this sample."""
    found: dict[tuple[str, str], float] = {}
    for keys in by_rows([sample.key(oracle, scorer) for oracle in oracles for scorer in scorers]):
        decided = _decided(sample, keys[0])
        if decided is None:
            continue
        slopes = shared_by_cores(partial(_slope, sample, decided), keys)
        fitted = {(key.scorer, key.oracle): temperature_of(slope) for key, slope in zip(keys, slopes, strict=True)}
        found |= {names: temperature for names, temperature in fitted.items() if temperature is not None}
    return found


def _slope(sample: Sample, decided: Decided, key: Key) -> float | None:
    return fit_slope(decided.scored(sample.rows(key).score))


def _fitted_and_summed(
    sample: Sample, decided: Decided, learned: Collection[str], temperatures: Temperatures | None, key: Key
) -> tuple[Fit | None, PairSums]:
    rows = sample.rows(key)
    pairs = decided.scored(rows.score)
    responses = np.bincount(rows.prompt, minlength=sample.n_prompts).astype(np.float64)
    if key.scorer not in learned:
        return None, PairSums(pairs, margin_numbers, responses)
    slope = fit_slope(pairs)
    known = temperature_of(slope) if temperatures is None else temperatures.get((key.scorer, key.oracle))
    fit = Fit(slope, known, confidence_edges(pairs))

    def numbers(few: Pairs) -> Iterator[Binned]:
        yield from margin_numbers(few)
        yield from calibration_numbers(few, fit)

    return fit, PairSums(pairs, numbers, responses)


def _decided(sample: Sample, key: Key) -> Decided | None:
    rows = sample.rows(key)
    return decided_pairs(rows.prompt, rows.oracle, rows.second)

"""Pairs of responses that the oracle tells apart: accuracy by margin of every scorer, calibration of learned ones."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import numpy as np

from evaluation.statistics.asked import Record, Totals, because, undrawn
from evaluation.statistics.bootstrap import Contributions
from evaluation.statistics.calibration import (
    RELIABILITY,
    Fit,
    calibration_measures,
    calibration_numbers,
    fit_slope,
    temperature_of,
)
from evaluation.statistics.margins import ACCURACY_BY_MARGIN, MARGIN_WIDTH, margin_accuracies, margin_numbers
from evaluation.statistics.measured import Measured
from evaluation.statistics.pairs import MOST_WEIGHTED_PAIRS, TOO_MANY, Decided, PairSums, decided_pairs
from evaluation.statistics.sample import Key, Sample

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
        for (oracle, _), keys in _by_rows(single).items():
            decided = _decided(sample, keys[0])
            for key in keys if decided is not None else ():
                assert decided is not None
                rows = sample.rows(key)
                pairs = decided.scored(rows.score)
                numbers = margin_numbers(pairs)
                if key.scorer in learned:
                    slope = fit_slope(pairs)
                    known = temperature_of(slope) if temperatures is None else temperatures.get((key.scorer, oracle))
                    self._fits[key] = Fit(slope, known)
                    numbers = chain(numbers, calibration_numbers(pairs, self._fits[key]))
                responses = np.bincount(rows.prompt, minlength=sample.n_prompts).astype(np.float64)
                self._columns[key] = PairSums(pairs, numbers, responses)
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
    found = {}
    for keys in _by_rows([sample.key(oracle, scorer) for oracle in oracles for scorer in scorers]).values():
        decided = _decided(sample, keys[0])
        for key in keys if decided is not None else ():
            assert decided is not None
            temperature = temperature_of(fit_slope(decided.scored(sample.rows(key).score)))
            if temperature is not None:
                found[key.scorer, key.oracle] = temperature
    return found


def _by_rows(keys: Sequence[Key]) -> dict[tuple[str, bytes], list[Key]]:
    """Columns that have the oracle and the rows in common, and so the pairs."""
    found: dict[tuple[str, bytes], list[Key]] = {}
    for key in keys:
        found.setdefault((key.oracle, key.usable), []).append(key)
    return found


def _decided(sample: Sample, key: Key) -> Decided | None:
    rows = sample.rows(key)
    return decided_pairs(rows.prompt, rows.oracle, rows.second)

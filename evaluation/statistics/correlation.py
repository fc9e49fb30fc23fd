"""How well scores agree with an oracle's judgements, in every way that docs/statistics.md defines, from one bootstrap.

The statistics of one temperature and stratum are families of sums over prompts; all of them are drawn for at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from evaluation.scorers.controls import CONTROLS
from evaluation.statistics.agreement import STATISTICS, constant_prompts, measure
from evaluation.statistics.best_of_n import DECLINE, NO_SECOND, ORACLE, TOO_FEW, BestOfN
from evaluation.statistics.bootstrap import Bootstrap, Contributions, Floats, Interval, Ints, Scale, describe_method
from evaluation.statistics.calibration import (
    RELIABILITY,
    Fit,
    calibration_measures,
    calibration_numbers,
    fit_slope,
    temperature_of,
)
from evaluation.statistics.comparison import compare, difference, simultaneous
from evaluation.statistics.estimate import Comparison, CurvePoint, Estimate
from evaluation.statistics.length_control import LENGTH_STATISTICS, LengthSums, length_measures
from evaluation.statistics.margins import ACCURACY_BY_MARGIN, MARGIN_WIDTH, margin_accuracies, margin_numbers
from evaluation.statistics.measured import Frame, Measured
from evaluation.statistics.pairs import MOST_WEIGHTED_PAIRS, TOO_MANY, PairSums, list_pairs
from evaluation.statistics.sample import Key, Sample
from evaluation.statistics.spread import SpreadSums, spread_measures
from evaluation.statistics.sums import Column

LEAD_WITHIN = "pearson_within_lead_over_"
"""Prefix of the statistics that compare a scorer with a trivial control on the same responses."""

_PLAIN = ("pairwise_accuracy", "spearman_per_prompt", "kendall_per_prompt")
"""Whose intervals are not taken on the atanh scale: they are no correlations, or means of many."""


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


def correlate(
    clusters: Ints,
    scores: Mapping[str, Floats],
    oracles: Mapping[str, Floats],
    *,
    draws: int,
    confidence: float,
    seed: int,
    second_cluster: Ints | None = None,
    temperature: float | None = None,
    stratum: str = "all",
    controls: Collection[str] = tuple(CONTROLS),
) -> list[Estimate]:
    """Every correlation of every scorer with every oracle, from one joint bootstrap over prompts.

    ``clusters`` (rows,) says which prompt a row answers, ``second_cluster`` (rows,) what else rows have in common.
    Scores and judgements (rows,) are missing where they are not finite; a row counts where both are there.
    ``controls`` names the trivial scorers: every other scorer's lead over each of them within prompts is given too.
    Raises InvalidInput where the second cluster has too many values to be one.
    """
    sample = Sample(clusters, second_cluster, scores, oracles)
    method = describe_method(draws, confidence, crossed=second_cluster is not None)
    frame = Frame(temperature, stratum, confidence, method, sample.n_rows, None)
    bootstrap = Bootstrap(sample.n_prompts, sample.n_second, draws, seed)
    return _Measurement(sample, frame, bootstrap, list(scores), list(oracles), controls).correlations().estimates


def agree(
    sample: Sample,
    frame: Frame,
    bootstrap: Bootstrap,
    scorers: Sequence[str],
    oracles: Sequence[str],
    temperatures: Mapping[tuple[str, str], float] | None,
    controls: Collection[str] = tuple(CONTROLS),
) -> Agreement:
    """Everything at one temperature. ``temperatures`` calibrate, by scorer and oracle; None fits them here."""
    return _Measurement(sample, frame, bootstrap, scorers, oracles, controls).everything(temperatures)


def agree_plainly(
    sample: Sample, frame: Frame, bootstrap: Bootstrap, scorers: Sequence[str], oracles: Sequence[str]
) -> list[Estimate]:
    """The correlations alone, as of a stratum of the responses."""
    return _Measurement(sample, frame, bootstrap, scorers, oracles, ()).plain().estimates


def fit_temperatures(sample: Sample, scorers: Sequence[str], oracles: Sequence[str]) -> dict[tuple[str, str], float]:
    """By scorer and oracle, what score differences are to be divided by; absent where nothing would calibrate them."""
    found = {}
    for scorer in scorers:
        for oracle in oracles:
            rows = sample.rows(sample.key(oracle, scorer))
            pairs = list_pairs(rows.prompt, rows.score, rows.oracle, None)
            temperature = None if pairs is None else temperature_of(fit_slope(pairs))
            if temperature is not None:
                found[scorer, oracle] = temperature
    return found


class _Measurement:
    """One sample, one set of draws; families of statistics are asked for first and drawn for together."""

    def __init__(
        self,
        sample: Sample,
        frame: Frame,
        bootstrap: Bootstrap,
        scorers: Sequence[str],
        oracles: Sequence[str],
        controls: Collection[str],
    ) -> None:
        self._sample, self._frame, self._bootstrap = sample, frame, bootstrap
        self._oracles = oracles
        self._trivial = [name for name in scorers if name in controls]
        self._learned = [name for name in scorers if name not in controls]
        self._single = [sample.key(oracle, scorer) for oracle in oracles for scorer in scorers]
        self._columns: dict[Key, Column] = {}
        self._constant: dict[Key, int] = {}
        self._found = Agreement()

    def correlations(self) -> Agreement:
        """The statistics of ``agreement`` and the leads over controls."""
        leads, _ = self._ask_pairs()
        self._tell_columns(self._drawn(list(self._columns.values())), leads, {})
        return self._found

    def plain(self) -> Agreement:
        """The statistics of ``agreement`` alone."""
        self._columns = {key: self._column(key) for key in dict.fromkeys(self._single)}
        self._tell_columns(self._drawn(list(self._columns.values())), [], {})
        return self._found

    def everything(self, temperatures: Mapping[tuple[str, str], float] | None) -> Agreement:
        """These, and every other family."""
        leads, rivals = self._ask_pairs()
        columns = list(self._columns.values())
        lengths = self._ask_lengths()
        pairs, fits = self._ask_listed_pairs(temperatures)
        best = {key: self._best_of_n(key) for key in self._single}
        spreads = {name: self._spread(values) for name, values in self._sample.all_series().items()}
        families: list[Contributions] = [
            *columns,
            *lengths.values(),
            *(each for each in pairs.values() if each is not None),
            *best.values(),
            *spreads.values(),
        ]
        totals = self._drawn(families)
        self._tell_columns(totals, leads, rivals)
        self._tell_lengths(lengths, totals)
        self._tell_pairs(pairs, fits, totals, fitted_here=temperatures is None)
        self._tell_best_of_n(best, totals)
        self._tell_spreads(spreads, totals)
        return self._found

    def _drawn(self, families: Sequence[Contributions]) -> dict[int, Floats | None]:
        """Totals by the identity of what they are of."""
        if self._sample.n_prompts < 2:
            return {id(each): None for each in families}
        totals = self._bootstrap.totals(families)
        return {id(each): total for each, total in zip(families, totals, strict=True)}

    def _ask_pairs(self) -> tuple[list[tuple[Key, Key]], dict[str, list[tuple[Key, Key]]]]:
        """Columns of single scorers, of scorers beside controls, and of scorers beside each other."""
        leads = [
            (self._sample.key(oracle, scorer, control), self._sample.key(oracle, control, scorer))
            for oracle in self._oracles
            for scorer in self._learned
            for control in self._trivial
        ]
        rivals = {
            oracle: [
                (self._sample.key(oracle, a, b), self._sample.key(oracle, b, a))
                for a, b in combinations(self._learned, 2)
            ]
            for oracle in self._oracles
        }
        wanted = [*self._single, *(key for pair in leads for key in pair)]
        wanted += [key for each in rivals.values() for pair in each for key in pair]
        self._columns = {key: self._column(key) for key in dict.fromkeys(wanted)}
        return leads, rivals

    def _column(self, key: Key) -> Column:
        rows = self._sample.rows(key)
        return Column(
            rows.prompt, rows.score, rows.oracle, self._sample.n_prompts, rows.second, self._sample.n_second or 1
        )

    def _tell_columns(
        self,
        totals: Mapping[int, Floats | None],
        leads: Sequence[tuple[Key, Key]],
        rivals: Mapping[str, Sequence[tuple[Key, Key]]],
    ) -> None:
        measured = {}
        for key, column in self._columns.items():
            sums = column.contributions(None)[0]
            self._constant[key] = constant_prompts(sums)
            measured[key] = {each.name: measure(each, sums, totals[id(column)]) for each in STATISTICS}
        for key in self._single:
            for name, found in measured[key].items():
                self._estimate(key, name, found, "plain" if name in _PLAIN else "atanh")
            self._found.within[key.scorer, key.oracle] = measured[key]["pearson_within"]
        for key, other in leads:
            found = _lead(key, other, measured[key]["pearson_within"], measured[other]["pearson_within"])
            self._estimate(key, LEAD_WITHIN + other.scorer, found)
        for oracle, keys in rivals.items():
            correlations = {
                (a.scorer, b.scorer): (
                    measured[a]["pearson_within"],
                    measured[b]["pearson_within"],
                    self._sample.n_dropped(a),
                )
                for a, b in keys
            }
            self._found.comparisons += compare(correlations, oracle, self._frame)

    def _ask_lengths(self) -> dict[Key, LengthSums]:
        if not self._sample.has_length:
            return {}
        found = {}
        for key in self._single:
            if key.scorer in ("length", key.oracle):
                continue
            with_length = self._sample.key(key.oracle, key.scorer, length=True)
            rows = self._sample.rows(with_length)
            assert rows.length is not None  # has_length saw to it
            found[with_length] = LengthSums(
                rows.prompt,
                rows.score,
                rows.oracle,
                rows.length,
                self._sample.n_prompts,
                rows.second,
                self._sample.n_second or 1,
            )
        return found

    def _tell_lengths(self, asked: Mapping[Key, LengthSums], totals: Mapping[int, Floats | None]) -> None:
        for key, column in asked.items():
            found = length_measures(column.contributions(None)[0], totals[id(column)])
            for name in LENGTH_STATISTICS:
                self._estimate(key, name, found[name], "atanh")

    def _ask_listed_pairs(
        self, temperatures: Mapping[tuple[str, str], float] | None
    ) -> tuple[dict[Key, PairSums | None], dict[Key, Fit]]:
        """Margins of every scorer, calibration of learned ones; None where there are too many pairs to list."""
        asked: dict[Key, PairSums | None] = {}
        fits = {}
        for key in self._single:
            rows = self._sample.rows(key)
            pairs = list_pairs(rows.prompt, rows.score, rows.oracle, rows.second)
            asked[key] = None
            if pairs is None:
                continue
            numbers = margin_numbers(pairs)
            if key.scorer in self._learned:
                slope = fit_slope(pairs)
                known = temperature_of(slope) if temperatures is None else temperatures.get((key.scorer, key.oracle))
                fits[key] = Fit(slope, known)
                numbers += calibration_numbers(pairs, fits[key])
            responses = np.bincount(rows.prompt, minlength=self._sample.n_prompts).astype(np.float64)
            asked[key] = PairSums(pairs, numbers, responses)
        return asked, fits

    def _tell_pairs(
        self,
        asked: Mapping[Key, PairSums | None],
        fits: Mapping[Key, Fit],
        totals: Mapping[int, Floats | None],
        *,
        fitted_here: bool,
    ) -> None:
        for key, column in asked.items():
            if column is None:
                self._point(key, ACCURACY_BY_MARGIN, 1.0, Measured(None, None, 0, 0, TOO_MANY))
                continue
            sums, total = column.contributions(None)[0], totals[id(column)]
            total, why = _undrawn(total, f"more than {MOST_WEIGHTED_PAIRS:,} pairs to weight by second cluster")
            for quartile, found in enumerate(margin_accuracies(sums, total, 1), start=1):
                self._point(key, ACCURACY_BY_MARGIN, float(quartile), _because(found, why))
            if key not in fits:
                continue
            named, bins = calibration_measures(sums, total, 1 + MARGIN_WIDTH, fits[key], fitted_here=fitted_here)
            for name, found in named.items():
                self._estimate(key, name, _because(found, why))
            for confidence, found in bins:
                self._point(key, RELIABILITY, confidence, _because(found, why))

    def _best_of_n(self, key: Key) -> BestOfN:
        rows = self._sample.rows(key)
        ranks = [np.unique(values, return_inverse=True)[1] for values in (rows.score, rows.oracle)]
        return BestOfN(rows.prompt, rows.score, rows.oracle, ranks[0], ranks[1], self._sample.n_prompts)

    def _tell_best_of_n(self, asked: Mapping[Key, BestOfN], totals: Mapping[int, Floats | None]) -> None:
        for key, column in asked.items():
            total, why = _undrawn(totals[id(column)], NO_SECOND)
            curves = column.measures(total)
            for (curve, n), found in curves.items():
                self._point(key, curve, n, _because(found, why))
            for name, found in column.summary(total).items():
                self._estimate(key, name, _because(found, why))
            self._decline(key, [curves[ORACLE, n] for n in column.ns], why)

    def _decline(self, key: Key, path: Sequence[Measured], why: str | None) -> None:
        """How much the best N surpasses the largest; above zero beyond doubt is over-optimisation."""
        last = path[-1]
        if len(path) < 2 or last.value is None:
            self._estimate(key, DECLINE, Measured(None, None, last.n_prompts, last.n_responses, TOO_FEW))
            return
        falls = [_minus(each, last) for each in path[:-1]]
        intervals = simultaneous(falls, self._frame.confidence)
        most = max(range(len(falls)), key=lambda index: falls[index].value or 0.0)
        chosen = replace(falls[most], n_constant_prompts=self._constant.get(key))
        interval = intervals[most] if why is None else Interval(None, None, None, why)
        numbers = self._frame.numbers(key.oracle, chosen, self._sample.n_dropped(key), interval)
        self._found.estimates.append(Estimate(scorer=key.scorer, statistic=DECLINE, **numbers))

    def _spread(self, values: Floats) -> SpreadSums:
        prompt, known, second = self._sample.series(values)
        return SpreadSums(prompt, known, self._sample.n_prompts, second, self._sample.n_second or 1)

    def _tell_spreads(self, asked: Mapping[str, SpreadSums], totals: Mapping[int, Floats | None]) -> None:
        for name, column in asked.items():
            sums = column.contributions(None)[0]
            found = spread_measures(column, sums, totals[id(column)])
            n_dropped = self._sample.n_rows - int(sums[:, 0].sum())
            for statistic, each in found.items():
                self._found.estimates.append(self._frame.estimate(name, name, statistic, each, n_dropped))
            self._found.spread[name] = found["sd_within"]

    def _estimate(self, key: Key, statistic: str, found: Measured, scale: Scale = "plain") -> None:
        found = self._counted(key, found)
        n_dropped = self._sample.n_dropped(key)
        self._found.estimates.append(self._frame.estimate(key.scorer, key.oracle, statistic, found, n_dropped, scale))

    def _point(self, key: Key, curve: str, x: float, found: Measured) -> None:
        found = self._counted(key, found)
        self._found.points.append(
            self._frame.point(key.scorer, key.oracle, curve, x, found, self._sample.n_dropped(key))
        )

    def _counted(self, key: Key, found: Measured) -> Measured:
        """With the number of constant prompts, which is a matter of the rows and not of the statistic."""
        if found.n_constant_prompts is not None:
            return found
        return replace(found, n_constant_prompts=self._constant.get(key))


def _lead(key: Key, other: Key, own: Measured, control: Measured) -> Measured:
    """atanh r of a scorer minus atanh |r| of a control, both within prompts, on the rows where both are known."""
    reasons = [f"{name}: {each.reason}" for name, each in ((key.scorer, own), (other.scorer, control)) if each.reason]
    if control.value is not None and control.value < 0:
        # a control may be read either way: 1 - truncated is as trivial as truncated
        replicates = None if control.replicates is None else -control.replicates
        control = replace(control, value=-control.value, replicates=replicates)
    return replace(difference(own, control), reason="; ".join(reasons) or None)


def _minus(a: Measured, b: Measured) -> Measured:
    """a - b from equal draws."""
    assert a.value is not None
    assert b.value is not None
    both = a.replicates is not None and b.replicates is not None
    replicates = np.asarray(a.replicates) - np.asarray(b.replicates) if both else None
    return Measured(a.value - b.value, replicates, a.n_prompts, a.n_responses, a.reason)


def _undrawn(totals: Floats | None, why: str) -> tuple[Floats | None, str | None]:
    """No totals, and why, where all of them are NaN: the family cannot be drawn this way."""
    if totals is None or not np.isnan(totals[:, -1]).all():
        return totals, None
    return None, why


def _because(found: Measured, why: str | None) -> Measured:
    """The same, its interval missing because of ``why``."""
    return found if why is None or found.value is None else replace(found, reason=why)

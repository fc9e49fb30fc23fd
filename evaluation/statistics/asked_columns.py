"""Every scorer beside every oracle, beside trivial controls and beside the other scorers."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from evaluation.statistics.agreement import STATISTICS, constant_prompts, influences_of, measure
from evaluation.statistics.asked import Record, Totals
from evaluation.statistics.bootstrap import Contributions, Floats, Known
from evaluation.statistics.comparison import compare, difference
from evaluation.statistics.cores import shared_by_cores
from evaluation.statistics.influence import Influences
from evaluation.statistics.length_control import LENGTH_STATISTICS, LengthSums, length_influences, length_measures
from evaluation.statistics.measured import Measured
from evaluation.statistics.sample import Key, Sample, by_rows
from evaluation.statistics.sums import WITHIN, Column, Side

LEAD_WITHIN = "pearson_within_lead_over_"
"""Prefix of the statistics that compare a scorer with a trivial control on the same responses."""

_WITHIN = "pearson_within"

Pair = tuple[Key, Key]
"""Columns of two scorers on the rows that both have."""


class Columns:
    """The statistics of ``agreement``, leads over controls and paired comparisons; see ``asked.Family``."""

    def __init__(
        self,
        sample: Sample,
        single: Sequence[Key],
        leads: Sequence[Pair] = (),
        rivals: Sequence[Pair] = (),
    ) -> None:
        self._single, self._leads, self._rivals = single, leads, rivals
        keys = dict.fromkeys([*single, *(key for pair in (*leads, *rivals) for key in pair)])
        made: dict[Key, tuple[Contributions, Floats]] = {}
        for alike in by_rows(keys):
            columns = shared_by_cores(partial(_column_and_sums, sample, _judged(sample, alike[0])), alike)
            made |= zip(alike, columns, strict=True)
        self._columns = {key: made[key][0] for key in keys}
        self._sums = {key: made[key][1] for key in keys}
        self._moved = Influences({} if sample.n_second is not None else self._influences())
        self.asked: list[Contributions] = [*self._columns.values()]
        if self._moved.width:
            self.asked.append(self._moved)

    def tell(self, totals: Totals, record: Record) -> None:
        measured = {}
        for key, column in self._columns.items():
            record.constant[key] = constant_prompts(self._sums[key])
            measured[key] = {each.name: measure(each, self._sums[key], totals[id(column)]) for each in STATISTICS}
        moved = totals.get(id(self._moved))
        for key in self._single:
            for each in STATISTICS:
                found = self._moved.sure((key, each.name), measured[key][each.name], moved)
                record.estimate(key, each.name, found, each.scale)
            record.found.within[key.scorer, key.oracle] = measured[key][_WITHIN]
        for pair in self._leads:
            found = _lead(*pair, *(measured[key][_WITHIN] for key in pair))
            record.estimate(pair[0], LEAD_WITHIN + pair[1].scorer, self._moved.sure(pair, found, moved))
        for oracle in dict.fromkeys(a.oracle for a, _ in self._rivals):
            differences = {}
            for a, b in (pair for pair in self._rivals if pair[0].oracle == oracle):
                found = self._moved.sure((a, b), difference(measured[a][_WITHIN], measured[b][_WITHIN]), moved)
                differences[a.scorer, b.scorer] = found, record.sample.n_dropped(a)
            record.found.comparisons += compare(differences, oracle, record.frame)

    def _influences(self) -> dict[Hashable, Floats | None]:
        found: dict[Hashable, Floats | None] = {}
        within: dict[Key, Floats | None] = {}
        for key, by_name in zip(self._sums, shared_by_cores(_influences_by_name, self._sums.values()), strict=True):
            within[key] = by_name[_WITHIN]
            if key in self._single:
                found |= {(key, name): each for name, each in by_name.items()}
        for a, b in (*self._leads, *self._rivals):
            one, other = within[a], within[b]
            # of a control |r| is compared, and its covariance is the last of its sums within prompts
            read_backwards = (a, b) in self._leads and self._sums[b][:, WITHIN][:, 2].sum() < 0
            found[a, b] = None if one is None or other is None else one + other if read_backwards else one - other
        return found


class Lengths:
    """Correlations with length, and what remains without it; see ``asked.Family``."""

    def __init__(self, sample: Sample, single: Sequence[Key]) -> None:
        keys = [
            sample.key(each.oracle, each.scorer, length=True)
            for each in single
            if sample.has_length and each.scorer not in ("length", each.oracle)
        ]
        self._columns = dict(zip(keys, shared_by_cores(partial(_length_sums, sample), keys), strict=True))
        self._sums = {key: column.contributions(None)[0] for key, column in self._columns.items()}
        influences: dict[Hashable, Floats | None] = {
            (key, name): each
            for key, sums in self._sums.items()
            if sample.n_second is None
            for name, each in length_influences(sums).items()
        }
        self._moved = Influences(influences)
        self.asked: list[Contributions] = [*self._columns.values()]
        if self._moved.width:
            self.asked.append(self._moved)

    def tell(self, totals: Totals, record: Record) -> None:
        moved = totals.get(id(self._moved))
        for key, column in self._columns.items():
            found = length_measures(self._sums[key], totals[id(column)])
            for name in LENGTH_STATISTICS:
                record.estimate(key, name, self._moved.sure((key, name), found[name], moved), "atanh")


def pairs_of(sample: Sample, oracles: Collection[str], ones: Sequence[str], others: Sequence[str]) -> list[Pair]:
    """Columns of each of ``ones`` beside each of ``others`` on the rows that both have, for every oracle."""
    return [
        (sample.key(oracle, one, other), sample.key(oracle, other, one))
        for oracle in oracles
        for one in ones
        for other in others
    ]


def rivals_of(sample: Sample, oracles: Collection[str], scorers: Sequence[str]) -> list[Pair]:
    """Columns of every two of the scorers on the rows that both have, for every oracle."""
    return [
        (sample.key(oracle, a, b), sample.key(oracle, b, a)) for oracle in oracles for a, b in combinations(scorers, 2)
    ]


def _judged(sample: Sample, key: Key) -> Side:
    rows = sample.rows(key)
    return Side(rows.prompt, rows.oracle, sample.n_prompts, rows.second, sample.n_second or 1)


def _column_and_sums(sample: Sample, judged: Side, key: Key) -> tuple[Contributions, Floats]:
    rows = sample.rows(key)
    column = Column(rows.prompt, rows.score, judged, sample.n_prompts, rows.second, sample.n_second or 1)
    sums = column.contributions(None)[0]
    return Known(sums) if rows.second is None else column, sums


def _influences_by_name(sums: Floats) -> dict[str, Floats | None]:
    return {each.name: influences_of(each, sums) for each in STATISTICS}


def _length_sums(sample: Sample, key: Key) -> LengthSums:
    rows = sample.rows(key)
    assert rows.length is not None  # has_length saw to it
    return LengthSums(
        rows.prompt, rows.score, rows.oracle, rows.length, sample.n_prompts, rows.second, sample.n_second or 1
    )


def _lead(key: Key, other: Key, own: Measured, control: Measured) -> Measured:
    """atanh r of a scorer minus atanh |r| of a control, both within prompts, on the rows where both are known."""
    reasons = [f"{name}: {each.reason}" for name, each in ((key.scorer, own), (other.scorer, control)) if each.reason]
    if control.value is not None and control.value < 0:
        # a control may be read either way: 1 - truncated is as trivial as truncated
        replicates = None if control.replicates is None else -control.replicates
        control = replace(control, value=-control.value, replicates=replicates)
    return replace(difference(own, control), reason="; ".join(reasons) or None)

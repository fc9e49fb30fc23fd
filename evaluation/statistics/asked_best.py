"""What choosing the best of N by each scorer buys, and whether more of it is worse."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from evaluation.statistics.asked import Record, Totals, because, undrawn
from evaluation.statistics.best_of_n import DECLINE, NO_SECOND, ORACLE, TOO_FEW, BestOfN, Chooser
from evaluation.statistics.bootstrap import Contributions, Floats
from evaluation.statistics.comparison import simultaneous
from evaluation.statistics.cores import shared_by_cores
from evaluation.statistics.interval import Interval
from evaluation.statistics.measured import Measured
from evaluation.statistics.sample import Key, Sample, by_rows


class Choices:
    """See ``asked.Family``."""

    def __init__(self, sample: Sample, single: Sequence[Key]) -> None:
        self._columns: dict[Key, BestOfN] = {}
        for alike in by_rows(single):
            rows = sample.rows(alike[0])
            ceiling = Chooser(rows.prompt, rows.oracle, sample.n_prompts).expected(rows.oracle)
            columns = shared_by_cores(partial(_best_of_n, sample, ceiling), alike)
            self._columns |= zip(alike, columns, strict=True)
        self.asked: list[Contributions] = [*self._columns.values()]

    def tell(self, totals: Totals, record: Record) -> None:
        for key, column in self._columns.items():
            total, why = undrawn(totals[id(column)], NO_SECOND)
            curves = column.measures(total)
            for (curve, n), found in curves.items():
                record.point(key, curve, n, because(found, why))
            for name, found in column.summary(total).items():
                record.estimate(key, name, because(found, why))
            _tell_decline(record, key, [curves[ORACLE, n] for n in column.ns], why)


def _best_of_n(sample: Sample, ceiling: Sequence[Floats], key: Key) -> BestOfN:
    rows = sample.rows(key)
    return BestOfN(rows.prompt, rows.score, rows.oracle, sample.n_prompts, ceiling)


def _tell_decline(record: Record, key: Key, path: Sequence[Measured], why: str | None) -> None:
    """How much the best N surpasses the largest; above zero beyond doubt is over-optimisation."""
    last = path[-1]
    if len(path) < 2 or last.value is None:
        record.estimate(key, DECLINE, Measured(None, None, last.n_prompts, last.n_responses, TOO_FEW))
        return
    falls = [_minus(each, last) for each in path[:-1]]
    intervals = simultaneous(falls, record.frame.confidence)
    most = max(range(len(falls)), key=lambda index: falls[index].value or 0.0)
    record.estimate_with(key, DECLINE, falls[most], intervals[most] if why is None else Interval(None, None, None, why))


def _minus(a: Measured, b: Measured) -> Measured:
    """a - b from equal draws."""
    assert a.value is not None
    assert b.value is not None
    both = a.replicates is not None and b.replicates is not None
    replicates = np.asarray(a.replicates) - np.asarray(b.replicates) if both else None
    return Measured(a.value - b.value, replicates, a.n_prompts, a.n_responses, a.reason)

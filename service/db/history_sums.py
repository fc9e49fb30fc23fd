"""What groups of the history are made of: a row that was picked, or sums over rows for ``combining``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.statistics.combining import CORRELATIONS, plain_terms, weighted_terms
from service.db.history_columns import Named, Numbers, Places
from service.db.history_grouping import Agg, Groups, dense, is_few, occurring
from service.db.prompt_sets import OnSets

PICKED = ("latest", "min", "max")
COUNTS = ("n_prompts", "n_responses", "n_dropped")
_INTERVAL = ("estimate", "standard_error", "lower", "upper")
OF_WHAT = ("run", "scorer", "scorer_version", "oracle", "temperature", "stratum")
OF_ONE_ROW = (*_INTERVAL, *COUNTS, "method", "undefined_reason", *OF_WHAT)
"""What is told of a row that was picked."""


def columns_for(agg: Agg) -> set[str]:
    """Columns of rows that are looked at."""
    if agg in PICKED:
        return {*OF_ONE_ROW}
    if agg == "count":
        return {"estimate", *COUNTS}
    return {*_INTERVAL, *COUNTS, "statistic"}


def picked(groups: Groups, agg: Agg) -> Places:
    """(groups,) the row of each that was stored last, or has the least or the greatest estimate; the last of equals.

    One without an estimate is only taken where no row has one.
    """
    if agg == "latest":
        return groups.last
    estimate = groups.rows.measured("estimate")
    there = ~np.isnan(estimate)
    rows = np.flatnonzero(there)
    rising = np.argsort(estimate[rows] if agg == "max" else -estimate[rows], kind="stable")
    chosen = np.empty(groups.n, np.intp)
    for at in (np.flatnonzero(~there), rows[rising]):
        chosen[groups.of[at]] = at  # of several for one place the last one stays
    return chosen


ByGroup = dict[str, npt.NDArray[Any]]
"""By name (groups,)."""


class Cells:
    """The runs of each group, as pairs: what rows have in common that are of one group and run."""

    def __init__(self, groups: Groups, used: Places | slice) -> None:
        self.groups, self.used = groups, used
        runs = groups.rows.named("run")
        n_runs = len(runs.values)
        # of each the group and run as one number, and (rows,) which they are in
        cells, self.of = dense(groups.of[used] * n_runs + runs.places[used], groups.n * n_runs)
        self.group, self.run = np.divmod(cells, n_runs)
        self.n = len(cells)


def counts(cells: Cells) -> ByGroup:
    """``n_used``, how many rows of each group are used, ``n_runs``, of how many runs, and of ``COUNTS`` the most that
    any row of a run has, summed over runs."""
    groups, used = cells.groups, cells.used
    n_used = np.bincount(groups.of[used], minlength=groups.n)
    found = {"n_used": n_used, "n_runs": np.bincount(cells.group, minlength=groups.n)}
    for name in COUNTS:
        most = _most(groups.rows.named(name), used, cells.of, cells.n)
        found[name] = np.bincount(cells.group, most, groups.n).astype(np.int64)
    return found


def _most(column: Named, used: Places | slice, cell: Places, n_cells: int) -> Numbers:
    """(cells,) the greatest value that a row of each has."""
    values, places = np.array(column.values, float), column.places[used]
    if is_few(n_cells * len(values), len(cell)):  # of rows with the same value one is enough
        cell, places = np.divmod(occurring(cell * len(values) + places, n_cells * len(values)), len(values))
    most = np.zeros(n_cells)
    np.maximum.at(most, cell, values[places])
    return most


class Summed:
    """What ``combining.Sums`` has of each group."""

    def __init__(self, groups: Groups, agg: Agg, digests: Mapping[str, str]) -> None:
        """``digests`` are those of the sets of prompts, by run, where they are known."""
        rows = groups.rows
        estimate, *rest = (rows.measured(name) for name in _INTERVAL)
        if agg == "mean":
            terms = plain_terms(estimate, *rest)
        else:
            terms = weighted_terms(rows.named("statistic").holds(CORRELATIONS.__contains__), estimate, *rest)
        used = np.flatnonzero(~np.isnan(terms.w))
        y, s, w, below, above = (part[used] for part in terms)
        of, cells = groups.of[used], Cells(groups, used)
        self.columns: ByGroup = {
            **counts(cells),
            "n_errors": np.bincount(of[~np.isnan(s)], minlength=groups.n),
            "weight": np.bincount(of, w, groups.n),
            "weighted": np.bincount(of, w * y, groups.n),
            "squares": np.bincount(of, w * y * y, groups.n),
        }

        numbered: dict[str | None, int] = {}
        runs = rows.named("run").values
        of_runs = np.array([numbered.setdefault(digests.get(run), len(numbered)) for run in runs], np.intp)
        self.digests = [*numbered]
        n_sets = len(numbered)
        sets, of_cells = dense(cells.group * n_sets + of_runs[cells.run], groups.n * n_sets)
        of_set = of_cells[cells.of]
        moved = (np.bincount(of_set, np.nan_to_num(w * each), len(sets)) for each in (s, below, above))
        self._on = OnSets(sets // n_sets, sets % n_sets, np.bincount(of_cells), np.stack([*moved], axis=1))

    def standings(self, some: slice) -> OnSets:
        """Of some groups the sets of prompts that their runs stand on; the first is group 0."""
        its = slice(*np.searchsorted(self._on.group, [some.start, some.stop]))
        on = self._on
        return OnSets(on.group[its] - some.start, on.digest[its], on.n_runs[its], on.errors[its])

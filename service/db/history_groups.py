"""Groups of correlations made one number each: the latest, the least, the greatest, a mean, or a count.

``history_grouping`` tells rows apart, ``history_sums`` picks or sums, and ``evaluation.statistics.combining`` says what
the sums mean.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from evaluation.statistics.combining import CORRELATIONS, LARGEST, Sums, inverse_variance, mean
from service.db.history_columns import Places, read_rows, turn
from service.db.history_filter import HistoryFilter
from service.db.history_grouping import Agg, Grouping, check_grouping, columns_apart, grouped
from service.db.history_masks import fields_of, fitting, shared
from service.db.history_memory import remembered
from service.db.history_sums import (
    COUNTS,
    OF_ONE_ROW,
    OF_WHAT,
    PICKED,
    ByGroup,
    Cells,
    Summed,
    columns_for,
    counts,
    picked,
)
from service.db.keyset import cursor_after, key_of
from service.db.pages import DEFAULT_LIMIT, check_limit
from service.db.prompt_sets import PromptSets, Together, digests_of_runs, together
from service.db.records import Page

Row = dict[str, Any]


class HistoryGroup(BaseModel):
    """One number for a group of correlations, with its interval or the reason why there is none."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    group: dict[str, str | int | float | None]
    """What its rows have in common, by dimension; ``day``, ``week`` and ``month`` are the dates they begin at."""
    agg: Agg
    estimate: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    """In the estimate's own unit."""
    heterogeneity: float | None
    """I² of ``combined``: the share of the runs' differences that their errors do not explain. None where they share
    prompts or may do so."""
    n_rows: int
    """Correlations in the group."""
    n_undefined: int
    """Those of them without an estimate."""
    n_used: int
    """Those of them that this number is made of."""
    n_runs: int
    """Runs that these are of."""
    n_prompts: int
    """Of the rows used, as are the two below: the most of any row of a run, summed over runs."""
    n_responses: int
    n_dropped: int
    n_distinct_prompts: int | None
    """Different prompts that the runs of ``mean`` and ``combined`` were asked; null where some run's are not known."""
    shared_prompts: bool | None
    """Whether runs of ``mean`` and ``combined`` have prompts in common, so that their errors move together; null where
    some run's are not known, which counts as if they had."""
    chosen_run: str | None
    """Whose row this is, where one was chosen, and below of what it is."""
    chosen_scorer: str | None
    chosen_scorer_version: int | None
    chosen_oracle: str | None
    chosen_temperature: float | None
    """Null for all temperatures together, as in the row; also where none was chosen: see ``chosen_run``."""
    chosen_stratum: str | None
    first_at: datetime
    last_at: datetime
    method: str
    undefined_reason: str | None


def groups_page(
    session: Session,
    where: HistoryFilter,
    grouping: Grouping,
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[HistoryGroup]:
    """Groups in the order of what they are grouped by. Raises InvalidInput, as ``check_grouping`` does."""
    found = told_page(session, where, grouping, cursor=cursor, limit=limit)
    return Page(data=[HistoryGroup(**row) for row in found.data], next=found.next)


def told_page(
    session: Session,
    where: HistoryFilter,
    grouping: Grouping,
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Row]:
    """The same as plain values, for who makes something else of them."""
    check_limit(limit)
    made = _Made(session, where, grouping)
    groups, spelling = made.groups, f"{','.join(grouping.by)} {grouping.agg} {grouping.first} {grouping.descending}"
    begin = 0 if cursor is None else groups.begin_after(key_of(groups.keys, cursor, spelling))
    end = min(begin + limit, groups.n)
    key = [value for [value] in groups.common(slice(end - 1, end)).values()] if end < groups.n else None
    return Page(data=made.told(slice(begin, end)), next=None if key is None else cursor_after(key, spelling))


def stream_groups(session: Session, where: HistoryFilter, grouping: Grouping) -> Generator[Row]:
    """All groups, some at a time."""
    made = _Made(session, where, grouping)
    for begin in range(0, made.groups.n, _AT_ONCE):
        yield from made.told(slice(begin, min(begin + _AT_ONCE, made.groups.n)))


_AT_ONCE = 100
_NONE_CHOSEN = dict.fromkeys(f"chosen_{name}" for name in OF_WHAT)
_NO_ESTIMATE = dict.fromkeys(("estimate", "lower", "upper", "standard_error", "heterogeneity"))
_COUNTED = {
    **{"n_distinct_prompts": None, "shared_prompts": None, **_NONE_CHOSEN, **_NO_ESTIMATE},
    **{"method": "count", "undefined_reason": "agg=count counts and estimates nothing"},
}


class _Made:
    """All groups of what fits, of which some are told. Raises InvalidInput, as ``check_grouping`` does."""

    def __init__(self, session: Session, where: HistoryFilter, grouping: Grouping) -> None:
        check_grouping(grouping, where.values.get("statistic", ()))
        self._session = session
        self._where = where
        self._grouping = grouping
        self._sets = PromptSets(session)
        with turn(session):
            self._make()

    def _make(self) -> None:
        where, agg = self._where, self._grouping.agg
        needed = fields_of(where) | columns_apart(self._grouping) | columns_for(agg)
        rows = remembered(self._session, needed) or read_rows(self._session, needed, *shared(where))
        self.groups = grouped(fitting(self._session, where, rows), self._grouping)
        there = ~np.isnan(self.groups.rows.measured("estimate"))
        self._rows: ByGroup = {"n_rows": self.groups.count(), "n_defined": self.groups.count(there)}
        self._tell: Callable[[slice, Sequence[Row]], Iterable[Row]]
        if agg in PICKED:
            self._tell = partial(self._of_rows, picked(self.groups, agg))
        elif agg == "count":
            self._tell = partial(_of_counts, counts(Cells(self.groups, slice(None))))
        else:
            self._tell = partial(self._of_sums, Summed(self.groups, agg, digests_of_runs(self._session)))

    def told(self, some: slice) -> list[Row]:
        """The fields of HistoryGroup, for some groups."""
        return list(self._tell(some, self._common(some)))

    def _common(self, some: slice) -> list[Row]:
        groups, at = self.groups, self.groups.rows.named("created_at")
        common, by = groups.common(some), self._grouping.by
        moments = (
            [at.values[place] for place in at.places[rows[some]].tolist()] for rows in (groups.first, groups.last)
        )
        found = zip(zip(*(common[name] for name in by), strict=True), *moments, _records(self._rows, some), strict=True)
        return [
            {
                "group": dict(zip(by, values, strict=True)),
                "agg": self._grouping.agg,
                "first_at": first,
                "last_at": last,
                "n_rows": n["n_rows"],
                "n_undefined": n["n_rows"] - n["n_defined"],
            }
            for values, first, last, n in found
        ]

    def _of_rows(self, chosen: Places, some: slice, common: Sequence[Row]) -> Iterator[Row]:
        for each, row in zip(common, self.groups.rows.records(chosen[some], OF_ONE_ROW), strict=True):
            yield {**each, **_of_one_row(row, self._grouping.agg, each["n_rows"] - each["n_undefined"])}

    def _of_sums(self, summed: Summed, some: slice, common: Sequence[Row]) -> Iterator[Row]:
        of_parts = np.array([_of_parts(each["group"], self._where) for each in common], bool)
        found = together(summed.standings(some), summed.digests, self._sets, of_parts)
        for each, moved, row in zip(common, found, _records(summed.columns, some), strict=True):
            statistic = each["group"].get("statistic", next(iter(self._where.values.get("statistic", ())), None))
            told = {"n_distinct_prompts": moved.distinct, "shared_prompts": moved.shared, **_NONE_CHOSEN}
            numbers = {name: row[name] for name in ("n_used", "n_runs", *COUNTS)}
            row["n_defined"] = each["n_rows"] - each["n_undefined"]
            yield {**each, **numbers, **told, **_of_sums(row, self._grouping.agg, statistic in CORRELATIONS, moved)}


def _of_counts(counted: ByGroup, some: slice, common: Sequence[Row]) -> Iterator[Row]:
    for each, numbers in zip(common, _records(counted, some), strict=True):
        yield {**each, **numbers, **_COUNTED}


def _records(columns: ByGroup, some: slice) -> list[Row]:
    values = zip(*(column[some].tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def _of_parts(group: Mapping[str, Any], where: HistoryFilter) -> bool:
    """Whether a group's rows are of a stratum, such as one subset of a benchmark, and not of all of their runs'."""
    strata = [group["stratum"]] if "stratum" in group else where.values.get("stratum", ())
    return any(stratum != "all" for stratum in strata)


def _of_one_row(row: Row, agg: str, n_defined: int) -> Row:
    which = {"min": "least", "max": "greatest"}.get(agg)
    chosen = f"; the {which} of {n_defined}, its interval not widened for the choice" if which else ""
    there = int(row["estimate"] is not None)
    return {
        **{name: row[name] for name in OF_ONE_ROW if name not in OF_WHAT},
        "heterogeneity": None,
        "n_used": there,
        "n_runs": there,
        **{f"chosen_{name}": row[name] for name in OF_WHAT},
        "n_distinct_prompts": None,
        "shared_prompts": None,
        "method": row["method"] + chosen,
    }


def _of_sums(row: Row, agg: str, correlation: bool, found: Together) -> Row:
    how = "mean" if agg == "mean" else f"inverse-variance mean{' on the atanh scale' if correlation else ''}"
    method = (
        f"{how} of {row['n_used']} estimates of {row['n_runs']} runs, interval of theirs; "
        f"{_DEPENDENCE[found.shared]}rows of one run as moving together"
    )
    if not row["n_used"]:
        beyond = f" within {LARGEST:g}" if row["n_defined"] else ""
        missing = f"no row has an estimate{beyond if agg == 'mean' else ' with a standard error'}"
        return {**_NO_ESTIMATE, "method": method, "undefined_reason": missing}
    without = row["n_used"] - row["n_errors"]
    sums = Sums(
        n=row["n_used"],
        n_runs=row["n_runs"],
        weight=row["weight"],
        weighted=row["weighted"],
        squares=row["squares"],
        spread=None if without else found.spread,
        apart=found.shared is False,
    )
    one = mean(sums) if agg == "mean" else inverse_variance(sums, correlation)
    return {
        **vars(one),
        "method": method,
        "undefined_reason": None if one.lower is not None else f"{without} of them without a standard error",
    }


_DEPENDENCE: Mapping[bool | None, str] = {
    True: "runs as moving together as far as they share prompts, ",
    False: "runs as independent, ",
    None: "runs as moving together as far as they may share prompts, which of some are not known, ",
}

"""Groups of correlations made one number each: the latest, the least, the greatest, a mean, or a count.

``history_grouping`` tells rows apart, ``history_sums`` picks or sums, and ``evaluation.statistics.combining`` says what
the sums mean.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from threading import BoundedSemaphore
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, RowMapping, Text, and_, column, select, values
from sqlalchemy.orm import Session

from evaluation.statistics.combining import CORRELATIONS, LARGEST, Spread, Sums, inverse_variance, mean
from service.db.history_columns import Places, read_rows
from service.db.history_filter import HistoryFilter, Plain
from service.db.history_grouping import Agg, Grouping, check_grouping, columns_apart, grouped
from service.db.history_masks import fields_of, fitting, shared
from service.db.history_sums import COUNTS, PICKED, Counted, Summed, columns_for, picked
from service.db.keyset import cursor_after, key_of
from service.db.pages import DEFAULT_LIMIT, check_limit
from service.db.prompt_sets import PromptSets, Together, together
from service.db.records import Page
from service.db.tables import Correlation

Row = dict[str, Any]

_TABLE = Correlation.__table__


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
    spelling = f"{','.join(grouping.by)} {grouping.agg} {grouping.first} {grouping.descending}"
    begin = 0 if cursor is None else made.groups.begin_after(key_of(made.groups.keys, cursor, spelling))
    end = min(begin + limit, made.groups.n)
    following = cursor_after(made.groups.key(end - 1), spelling) if end < made.groups.n else None
    return Page(data=made.told(range(begin, end)), next=following)


def stream_groups(session: Session, where: HistoryFilter, grouping: Grouping) -> Generator[Row]:
    """All groups, some at a time."""
    made = _Made(session, where, grouping)
    for begin in range(0, made.groups.n, _AT_ONCE):
        yield from made.told(range(begin, min(begin + _AT_ONCE, made.groups.n)))


_AT_ONCE = 100
_TURNS = BoundedSemaphore(2)
"""While groups are made, columns of all rows that may fit are in memory: some hundreds of megabytes of a million."""
_CHOSEN = ("run", "scorer", "scorer_version", "oracle", "temperature", "stratum")
_NONE_CHOSEN = dict.fromkeys(f"chosen_{name}" for name in _CHOSEN)
_NO_ESTIMATE = dict.fromkeys(("estimate", "lower", "upper", "standard_error", "heterogeneity"))
_UNKNOWN = Together(Spread(0.0, 0.0, 0.0), None, None)


class _Made:
    """All groups of what fits, of which some are told. Raises InvalidInput, as ``check_grouping`` does."""

    def __init__(self, session: Session, where: HistoryFilter, grouping: Grouping) -> None:
        check_grouping(grouping, where.values.get("statistic", ()))
        self._where = where
        self._grouping = grouping
        self._sets = PromptSets(session)
        session.connection()  # first, as whoever has used the session already: or each could wait for the other
        with _TURNS:
            self._make(session)

    def _make(self, session: Session) -> None:
        where, grouping = self._where, self._grouping
        needed = fields_of(where) | columns_apart(grouping) | columns_for(grouping.agg)
        rows = read_rows(session, needed, *shared(where))
        rows = rows.those(fitting(session, where, rows))
        self.groups = grouped(rows, grouping)
        self._n_rows = self.groups.count()
        self._n_defined = self.groups.count(~np.isnan(rows.measured("estimate")))
        self._tell: Callable[[Sequence[int]], Iterable[Row | None]]
        if grouping.agg in PICKED:
            self._tell = partial(self._of_rows, session, picked(self.groups, grouping.agg))
        elif grouping.agg == "count":
            self._tell = partial(_of_counts, Counted(self.groups, slice(None)))
        else:
            self._tell = partial(self._of_sums, Summed(self.groups, grouping.agg))

    def told(self, some: Sequence[int]) -> list[Row]:
        """The fields of HistoryGroup, for some groups; without those that were deleted meanwhile."""
        if not some:
            return []
        found = zip(some, self._tell(some), strict=True)
        return [{**self._common(group), **own} for group, own in found if own is not None]

    def _common(self, group: int) -> Row:
        at = self.groups.rows.named("created_at")
        n_rows = int(self._n_rows[group])
        return {
            "group": self._key(group),
            "agg": self._grouping.agg,
            "n_rows": n_rows,
            "n_undefined": n_rows - int(self._n_defined[group]),
            "first_at": at.values[at.places[self.groups.first[group]]],
            "last_at": at.values[at.places[self.groups.last[group]]],
        }

    def _key(self, group: int) -> dict[str, Plain]:
        sorted_by = (key.name for key in self.groups.keys)
        found = dict(zip(sorted_by, self.groups.key(group), strict=True))
        return {name: found[name] for name in self._grouping.by}

    def _of_rows(self, session: Session, chosen: Places, some: Sequence[int]) -> Iterator[Row | None]:
        run, number = self.groups.rows.named("run"), self.groups.rows.measured("number")
        at = [int(chosen[group]) for group in some]
        places = [(run.values[run.places[row]], int(number[row])) for row in at]
        wanted = values(column("run", Text), column("number", BigInteger), name="wanted").data(places).cte()
        its_row = and_(_TABLE.c.run == wanted.c.run, _TABLE.c.number == wanted.c.number)
        query = select(*_TABLE.c).join_from(wanted, _TABLE, its_row)
        found = {(row["run"], row["number"]): row for row in session.execute(query).mappings()}
        for group, place in zip(some, places, strict=True):
            row = found.get(place)
            yield None if row is None else _of_one_row(row, self._grouping.agg, int(self._n_defined[group]))

    def _of_sums(self, summed: Summed, some: Sequence[int]) -> Iterator[Row]:
        keys = [self._key(group) for group in some]
        standings = [summed.standing(group) for group in some]
        found = together(standings, self._sets, [_of_parts(key, self._where) for key in keys])
        for group, key, moved in zip(some, keys, found, strict=True):
            statistic = key.get("statistic", next(iter(self._where.values.get("statistic", ())), None))
            own = _of_sums(summed, group, self._grouping.agg, statistic in CORRELATIONS, moved)
            yield {**_counts(summed.counted, group, moved), **own}


def _of_counts(counted: Counted, some: Sequence[int]) -> Iterator[Row]:
    said = {"method": "count", "undefined_reason": "agg=count counts and estimates nothing"}
    for group in some:
        yield {**_counts(counted, group, _UNKNOWN), **_NO_ESTIMATE, **said}


def _counts(counted: Counted, group: int, moved: Together) -> Row:
    return {
        "n_used": int(counted.n_used[group]),
        "n_runs": int(counted.n_runs[group]),
        **{name: int(of[group]) for name, of in counted.sizes.items()},
        "n_distinct_prompts": moved.distinct,
        "shared_prompts": moved.shared,
        **_NONE_CHOSEN,
    }


def _of_parts(group: Mapping[str, Any], where: HistoryFilter) -> bool:
    """Whether a group's rows are of a stratum, such as one subset of a benchmark, and not of all of their runs'."""
    strata = [group["stratum"]] if "stratum" in group else where.values.get("stratum", ())
    return any(stratum != "all" for stratum in strata)


def _of_one_row(row: RowMapping, agg: str, n_defined: int) -> Row:
    which = {"min": "least", "max": "greatest"}.get(agg)
    chosen = f"; the {which} of {n_defined}, its interval not widened for the choice" if which else ""
    copied = ("estimate", "lower", "upper", "standard_error", "undefined_reason")
    there = int(row["estimate"] is not None)
    return {
        **{name: row[name] for name in (*copied, *COUNTS)},
        "heterogeneity": None,
        "n_used": there,
        "n_runs": there,
        **{f"chosen_{name}": row[name] for name in _CHOSEN},
        "n_distinct_prompts": None,
        "shared_prompts": None,
        "method": row["method"] + chosen,
    }


def _of_sums(summed: Summed, group: int, agg: str, correlation: bool, found: Together) -> Row:
    n_used, n_runs = int(summed.counted.n_used[group]), int(summed.counted.n_runs[group])
    how = "mean" if agg == "mean" else f"inverse-variance mean{' on the atanh scale' if correlation else ''}"
    method = (
        f"{how} of {n_used} estimates of {n_runs} runs, interval of theirs; "
        f"{_DEPENDENCE[found.shared]}rows of one run as moving together"
    )
    if not n_used:
        beyond = f" within {LARGEST:g}" if summed.n_defined[group] else ""
        missing = f"no row has an estimate{beyond if agg == 'mean' else ' with a standard error'}"
        return {**_NO_ESTIMATE, "method": method, "undefined_reason": missing}
    without = n_used - int(summed.n_errors[group])
    sums = Sums(
        n=n_used,
        n_runs=n_runs,
        weight=float(summed.weight[group]),
        weighted=float(summed.weighted[group]),
        squares=float(summed.squares[group]),
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

"""Groups of correlations made one number each: the latest, the least, the greatest, a mean, or a count.

``history_sql`` picks or ``history_sums`` sums, and ``evaluation.statistics.combining`` says what the sums mean.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from evaluation.statistics.combining import CORRELATIONS, Spread, Sums, inverse_variance, mean
from service.db.history import read_page, stream
from service.db.history_filter import HistoryFilter
from service.db.history_sql import PICKED, Agg, Dimension, Grouping, grouped
from service.db.history_sums import COUNTS, GROUP, LARGEST
from service.db.pages import DEFAULT_LIMIT
from service.db.prompt_sets import PromptSets, Together, together
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
    query, order = grouped(session, where, grouping)
    spelling = f"{','.join(grouping.by)} {grouping.agg} {grouping.first} {grouping.descending}"

    found = read_page(session, query, order, spelling, lambda row: row._mapping, cursor=cursor, limit=limit)
    sets = PromptSets(session)
    return Page(data=list(_finished(found.data, grouping, where, sets)), next=found.next)


def stream_groups(session: Session, where: HistoryFilter, grouping: Grouping) -> Generator[Row]:
    """All groups, as they come from the database."""
    query, order = grouped(session, where, grouping)
    sets = PromptSets(session)
    with closing(stream(session, query.order_by(*(part for by in order for part in by.order())))) as rows:
        while some := list(islice(rows, _AT_ONCE)):
            yield from _finished(some, grouping, where, sets)


_CHOSEN = ("run", "scorer", "scorer_version", "oracle", "temperature", "stratum")
_NOTHING_CHOSEN = dict.fromkeys(f"chosen_{name}" for name in _CHOSEN)
_AT_ONCE = 100


def _finished(
    rows: Sequence[Mapping[str, Any]], grouping: Grouping, where: HistoryFilter, sets: PromptSets
) -> Iterator[Row]:
    """Groups as they are told: the fields of HistoryGroup."""
    groups = [{name: row[GROUP + name] for name in grouping.by} for row in rows]
    shared = [
        {
            "group": group,
            "agg": grouping.agg,
            "n_rows": row["n_rows"],
            "n_undefined": row["n_rows"] - row["n_defined"],
            **{name: row[name] for name in (*COUNTS, "first_at", "last_at")},
        }
        for group, row in zip(groups, rows, strict=True)
    ]
    if grouping.agg in PICKED:
        yield from ({**each, **_of_one_row(row, grouping.agg)} for each, row in zip(shared, rows, strict=True))
        return
    if grouping.agg == "count":
        found = [Together(Spread(0.0, 0.0, 0.0), None, None)] * len(rows)
    else:
        found = together([row["standings"] or [] for row in rows], sets, [_of_parts(group, where) for group in groups])
    for each, row, moved in zip(shared, rows, found, strict=True):
        statistic = each["group"].get("statistic", next(iter(where.values.get("statistic", ())), None))
        told = {"n_distinct_prompts": moved.distinct, "shared_prompts": moved.shared, **_NOTHING_CHOSEN}
        numbers = {name: row[name] for name in ("n_used", "n_runs")}
        yield {**each, **numbers, **told, **_of_sums(row, grouping.agg, statistic in CORRELATIONS, moved)}


def _of_parts(group: Mapping[Dimension, Any], where: HistoryFilter) -> bool:
    """Whether a group's rows are of a stratum, such as one subset of a benchmark, and not of all of their runs'."""
    strata = [group["stratum"]] if "stratum" in group else where.values.get("stratum", ())
    return any(stratum != "all" for stratum in strata)


def _of_one_row(row: Mapping[str, Any], agg: str) -> Row:
    which = {"min": "least", "max": "greatest"}.get(agg)
    chosen = f"; the {which} of {row['n_defined']}, its interval not widened for the choice" if which else ""
    copied = ("estimate", "lower", "upper", "standard_error", "undefined_reason")
    there = int(row["estimate"] is not None)
    return {
        **{name: row[name] for name in copied},
        "heterogeneity": None,
        "n_used": there,
        "n_runs": there,
        **{f"chosen_{name}": row[name] for name in _CHOSEN},
        "n_distinct_prompts": None,
        "shared_prompts": None,
        "method": row["method"] + chosen,
    }


def _of_sums(row: Mapping[str, Any], agg: str, correlation: bool, found: Together) -> Row:
    nothing = {"estimate": None, "lower": None, "upper": None, "standard_error": None, "heterogeneity": None}
    if agg == "count":
        return {**nothing, "method": "count", "undefined_reason": "agg=count counts and estimates nothing"}
    how = "mean" if agg == "mean" else f"inverse-variance mean{' on the atanh scale' if correlation else ''}"
    method = (
        f"{how} of {row['n_used']} estimates of {row['n_runs']} runs, interval of theirs; "
        f"{_DEPENDENCE[found.shared]}rows of one run as moving together"
    )
    if not row["n_used"]:
        beyond = f" within {LARGEST:g}" if row["n_defined"] else ""
        missing = f"no row has an estimate{beyond if agg == 'mean' else ' with a standard error'}"
        return {**nothing, "method": method, "undefined_reason": missing}
    without = row["n_used"] - row["n_errors"]
    sums = Sums(
        n=row["n_used"],
        n_runs=row["n_runs"],
        weight=row["weight"],
        weighted=row["weighted"],
        squares=row["squares"],
        spread=found.spread if row["n_errors"] == row["n_used"] else None,
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

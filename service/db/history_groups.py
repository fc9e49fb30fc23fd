"""Groups of correlations made one number each: the latest, the least, the greatest, a mean, or a count.

``history_sql`` sums or picks, and ``evaluation.statistics.combining`` says what the sums mean.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from evaluation.statistics.combining import CONFIDENCE, CORRELATIONS, Combined, Sums, inverse_variance, mean
from service.db.history import read_page, stream
from service.db.history_filter import HistoryFilter
from service.db.history_sql import COUNTS, GROUP, PICKED, Agg, Grouping, grouped
from service.db.pages import DEFAULT_LIMIT
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
    """I² of ``combined``: the share of the runs' differences that their errors do not explain."""
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
    chosen_run: str | None
    """Whose row this is, where one was chosen."""
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
    query, order = grouped(session, where, grouping)
    spelling = f"{','.join(grouping.by)} {grouping.agg} {grouping.first} {grouping.descending}"

    def convert(row: Any) -> HistoryGroup:  # noqa: ANN401 - a row
        return HistoryGroup(**_finished(row._mapping, grouping, where))

    return read_page(session, query, order, spelling, convert, cursor=cursor, limit=limit)


def stream_groups(session: Session, where: HistoryFilter, grouping: Grouping) -> Iterator[Row]:
    """All groups, as they come from the database."""
    query, order = grouped(session, where, grouping)
    for row in stream(session, query.order_by(*(part for by in order for part in by.order()))):
        yield _finished(row, grouping, where)


def _finished(row: Mapping[str, Any], grouping: Grouping, where: HistoryFilter) -> Row:
    """A group as it is told: the fields of HistoryGroup."""
    group = {name: row[GROUP + name] for name in grouping.by}
    shared = {
        "group": group,
        "agg": grouping.agg,
        "n_rows": row["n_rows"],
        "n_undefined": row["n_rows"] - row["n_defined"],
        **{name: row[name] for name in COUNTS},
        **{name: row[name] for name in ("first_at", "last_at")},
    }
    if grouping.agg in PICKED:
        return {**shared, **_of_one_row(row, grouping.agg)}
    statistic = group.get("statistic", next(iter(where.values.get("statistic", ())), None))
    numbers = {name: row[name] for name in ("n_used", "n_runs")}
    return {**shared, **numbers, "chosen_run": None, **_of_sums(row, grouping.agg, statistic in CORRELATIONS)}


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
        "chosen_run": row["run"],
        "method": row["method"] + chosen,
    }


def _of_sums(row: Mapping[str, Any], agg: str, correlation: bool) -> Row:
    nothing = {"estimate": None, "lower": None, "upper": None, "standard_error": None, "heterogeneity": None}
    if agg == "count":
        return {**nothing, "method": "count", "undefined_reason": "agg=count counts and estimates nothing"}
    how = "mean" if agg == "mean" else f"inverse-variance mean{' on the atanh scale' if correlation else ''}"
    method = (
        f"{how} of {row['n_used']} estimates of {row['n_runs']} runs, {100 * CONFIDENCE:g} % interval; "
        "runs as independent, rows of one run as moving together"
    )
    if not row["n_used"]:
        missing = "no row has an estimate" if agg == "mean" else "no row has an estimate with a standard error"
        return {**nothing, "method": method, "undefined_reason": missing}
    sums = Sums(
        n=row["n_used"],
        n_runs=row["n_runs"],
        weight=row["weight"],
        weighted=row["weighted"],
        squares=row["squares"],
        spread=row["spread"] if row["n_errors"] == row["n_used"] else None,
    )
    found: Combined = (mean if agg == "mean" else inverse_variance)(sums, correlation)
    return {
        **vars(found),
        "method": method,
        "undefined_reason": None if found.lower is not None else _why_no_interval(row),
    }


def _why_no_interval(row: Mapping[str, Any]) -> str:
    without = row["n_used"] - row["n_errors"]
    return f"{without} of them without a standard error" if without else "a correlation of 1 has no interval"

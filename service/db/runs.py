"""Runs that evaluate, of every kind, as one list: filtered, sorted, a page at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from service.db.columns import UtcDateTime
from service.db.pages import check_limit, decode_cursor, page_of
from service.db.queries import JobFilter, job_conditions
from service.db.records import JobError, JobStatus, Page, RunRecord, progress_of
from service.db.tables import Job, StressTest, WeakestAgreement
from service.db.trust import leading_lower, named, without_key
from trainer.errors import InvalidInput, NotFound

Sort = Literal["newest", "oldest", "name", "surest", "least_sure"]
SORTS: tuple[Sort, ...] = get_args(Sort)

WEIGHED = 1000
"""Runs of a list, the newest, whose intervals are read to sort by them."""


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list; what is None does not restrict."""

    kinds: Sequence[str]
    status: JobStatus | None = None
    name: str | None = None
    """Part of the name, in capitals or not."""
    policy: str | None = None
    scorer: str | None = None
    """``NAME`` or ``NAME@VERSION``; runs that measured its agreement within prompts."""
    oracle: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    but: str | None = None
    """What the idempotency key does not begin with."""


def list_runs(
    session: Session, where: RunFilter, *, sort: Sort = "newest", cursor: str | None = None, limit: int = 50
) -> Page[RunRecord]:
    """Runs in the order of ``sort``. Raises InvalidInput for a bad cursor or limit."""
    order = _order(sort, where)
    query = _runs(order.value).where(*_conditions(where))
    if cursor is not None:
        query = query.where(order.after(sort, cursor))
    ends = (order.value.desc(), Job.id.desc()) if order.descending else (order.value, Job.id)
    rows = session.execute(query.order_by(*ends).limit(check_limit(limit) + 1)).all()
    return page_of(rows, limit, lambda row: [sort, order.told(row.place), row[0].id], lambda row: _record(*row[:2]))


def get_run(session: Session, run: str, kinds: Sequence[str]) -> RunRecord:
    """One run. Raises NotFound, also for a job of another kind."""
    row = session.execute(_runs(true()).where(Job.id == run, Job.kind.in_(kinds))).one_or_none()
    if row is None:
        raise NotFound(f"no run {run}; the list of runs shows what exists")
    return _record(*row[:2])


@dataclass(frozen=True)
class _Order:
    """By what a list is sorted, then by the runs' ids."""

    value: ColumnElement[Any] | InstrumentedAttribute[Any]
    read: Callable[[str], ColumnElement[Any]]
    descending: bool = False
    told: Callable[[Any], str] = str
    """A value as ``read`` takes it."""

    def after(self, sort: Sort, cursor: str) -> ColumnElement[bool]:
        """Behind the row that ``cursor`` names. Raises InvalidInput for a cursor of another list."""
        try:
            its, place, run = decode_cursor(cursor, list)
            if its != sort:
                raise ValueError(its)
            value = self.read(place)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput("cursor: not one this list gave; start without it") from error
        if self.descending:
            return or_(self.value < value, and_(self.value == value, Job.id < str(run)))
        return or_(self.value > value, and_(self.value == value, Job.id > str(run)))


def _order(sort: Sort, where: RunFilter) -> _Order:
    if sort in {"newest", "oldest"}:
        return _Order(Job.created_at, _instant, sort == "newest", lambda time: str(time.isoformat()))
    if sort == "name":
        return _Order(func.lower(Job.name), _text)
    surest = sort == "surest"
    fitting = select(Job.id).outerjoin(StressTest, StressTest.id == Job.id).where(*_conditions(where))
    newest = fitting.order_by(Job.created_at.desc(), Job.id.desc()).limit(WEIGHED).correlate(None)
    lower = leading_lower(Job.id, scorer=where.scorer, oracle=where.oracle)
    # what has no interval, or was not weighed, comes last
    weighed = func.coalesce(case((Job.id.in_(newest), lower)), -9.0 if surest else 9.0)
    return _Order(weighed, lambda text: literal(float(text)), surest, repr)


def _text(text: str) -> ColumnElement[Any]:
    if not isinstance(text, str):  # of a cursor that somebody made
        raise TypeError(text)
    return literal(text)


def _instant(text: str) -> ColumnElement[Any]:
    return literal(datetime.fromisoformat(text).astimezone(UTC), UtcDateTime)


def _conditions(where: RunFilter) -> list[ColumnElement[bool]]:
    jobs = JobFilter(
        kinds=where.kinds,
        status=where.status,
        part_of_name=where.name,
        created_after=where.created_after,
        created_before=where.created_before,
    )
    found = job_conditions(jobs)
    if where.policy is not None:
        found.append(StressTest.policy == where.policy)
    measured = [] if where.scorer is None else [named(where.scorer)]
    if where.oracle is not None:
        measured.append(WeakestAgreement.oracle == where.oracle)
    if measured:
        found.append(Job.id.in_(select(WeakestAgreement.run).where(*measured)))
    if where.but is not None:
        found.append(without_key(where.but))
    return found


def _runs(place: ColumnElement[Any] | InstrumentedAttribute[Any]) -> "Select[*tuple[Any, ...]]":
    """Jobs and what stress tests measured, without results: an audit's holds every number it found."""
    query = select(Job, StressTest, place.label("place")).outerjoin(StressTest, StressTest.id == Job.id)
    return query.options(defer(Job.result, raiseload=True), defer(Job.process, raiseload=True))


def _record(job: Job, found: StressTest | None) -> RunRecord:
    same = ("id", "kind", "name", "status", "attempts", "max_attempts", "labels", "recipe", "code_version")
    times = ("events_seen", "created_at", "started_at", "finished_at")
    measured = ("policy", "temperatures", "n_prompts", "n_responses", "scorers", "oracles")
    return RunRecord(
        **{name: getattr(job, name) for name in (*same, *times)},
        **{name: getattr(found, name, None) for name in measured},
        cancel_requested=job.cancel_requested_at is not None,
        progress=progress_of(job.progress, job.status),
        error=JobError.stored(job.error_code, job.error_detail),
    )


def notices_of(session: Session, run: str) -> list[str]:
    """What a finished run said is missing or was done otherwise than asked, read out of its result by the database."""
    found = session.scalar(select(Job.result["notices"]).where(Job.id == run))
    return [str(each) for each in found or []]


def names_measured(session: Session) -> dict[str, list[str]]:
    """Policies, scorers and oracles of the latest stress tests, to choose from."""
    rows = session.execute(
        select(StressTest.policy, StressTest.scorers, StressTest.oracles).order_by(StressTest.id.desc()).limit(200)
    ).all()
    return {
        "policy": sorted({policy for policy, _, _ in rows}),
        "scorer": sorted({name for _, names, _ in rows for name in names}),
        "oracle": sorted({name for _, _, names in rows for name in names}),
    }

"""/runs: every run that evaluates, filtered, sorted and laid out as the address says."""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from service.dashboard.rendering import answer, render
from service.db.records import CorrelationRecord, Page, RunRecord
from service.db.runs import SORTS, WEIGHED, RunFilter, Sort, list_runs, names_measured
from service.db.tables import JOB_STATUSES
from service.db.trust import leading_by_run
from service.jobs.kinds import EVALUATION_KINDS
from trainer.errors import InvalidInput

router = APIRouter()

COLUMNS = {
    "kind": "Kind",
    "policy": "Policy",
    "status": "Status",
    "responses": "Responses",
    "scorer": "Leading scorer",
    "oracle": "Oracle",
    "worst": "Worst T",
    "r": "r within prompts",
    "drawn": "Interval",
    "took": "Took",
    "id": "Id",
}
DEFAULT_COLUMNS = ("policy", "status", "responses", "scorer", "worst", "r", "drawn")
SORT_WORDS: dict[Sort, str] = {
    "newest": "newest first",
    "oldest": "oldest first",
    "name": "by name",
    "surest": f"surest agreement first, of the newest {WEIGHED:,}",
    "least_sure": f"least sure agreement first, of the newest {WEIGHED:,}",
}
_PAGE = 50


@dataclass(frozen=True)
class Asked:
    """What the address says; empty does not restrict."""

    name: str = ""
    kind: str = ""
    status: str = ""
    policy: str = ""
    scorer: str = ""
    oracle: str = ""
    after: str = ""
    before: str = ""
    sort: str = "newest"
    column: tuple[str, ...] = DEFAULT_COLUMNS
    cursor: str = ""

    @classmethod
    def of(cls, given: QueryParams) -> "Asked":
        """Raises InvalidInput for what is not there to choose."""
        texts: dict[str, Any] = {each.name: given[each.name].strip() for each in fields(cls) if given.get(each.name)}
        texts["column"] = tuple(name for name in COLUMNS if name in given.getlist("column")) or DEFAULT_COLUMNS
        asked = cls(**texts)
        for name, value, known in (
            ("kind", asked.kind, ("", *EVALUATION_KINDS)),
            ("status", asked.status, ("", *JOB_STATUSES)),
            ("sort", asked.sort, SORTS),
            *(("column", each, tuple(COLUMNS)) for each in given.getlist("column")),
        ):
            if value not in known:
                raise InvalidInput(f"{name}: {value!r} is none of {', '.join(filter(None, known))}")
        return asked

    @property
    def restricts(self) -> bool:
        """Whether runs are left out."""
        return replace(self, sort="newest", column=DEFAULT_COLUMNS, cursor="") != Asked()

    def query(self, cursor: str = "") -> str:
        """The part of an address that says the same, from the first row or from ``cursor`` on."""
        asked = replace(self, cursor=cursor)
        told = {each.name: getattr(asked, each.name) for each in fields(asked)}
        usual = {each.name: each.default for each in fields(asked)}
        return urlencode({name: value for name, value in told.items() if value != usual[name]}, doseq=True)

    def filter(self) -> RunFilter:
        """The same, for the query. Raises InvalidInput for what is no date."""
        return RunFilter(
            kinds=(self.kind,) if self.kind else EVALUATION_KINDS,
            status=self.status or None,  # type: ignore[arg-type]  # one of JOB_STATUSES
            name=self.name or None,
            policy=self.policy or None,
            scorer=self.scorer or None,
            oracle=self.oracle or None,
            created_after=_day("after", self.after) if self.after else None,
            created_before=_day("before", self.before, end=True) if self.before else None,
        )


class RunRow(BaseModel):
    """A run with the scorer whose agreement is surest where it is weakest."""

    run: RunRecord
    leading: CorrelationRecord | None


@router.get("/runs")
def runs(request: Request) -> Response:
    """The table of runs."""

    def page(session: Session) -> Response:
        asked = Asked.of(request.query_params)
        found = _rows(session, asked)
        return render(
            request,
            "runs.html",
            here="runs",
            asked=asked,
            rows=found.data,
            runs=[row.run for row in found.data],
            leading={row.run.id: row.leading for row in found.data},
            next=found.next,
            columns=COLUMNS,
            usual_columns=DEFAULT_COLUMNS,
            headings={**COLUMNS, "scorer": "Scorer" if asked.scorer else "Leading scorer"},
            sorts=SORT_WORDS,
            kinds=EVALUATION_KINDS,
            statuses=JOB_STATUSES,
            known=names_measured(session),
        )

    return answer(request, page)


@router.get("/runs.json")
def runs_json(request: Request) -> Response:
    """The same runs, for programs."""
    with request.app.state.sessions() as session:
        found = _rows(session, Asked.of(request.query_params))
    return JSONResponse(found.model_dump(mode="json"), headers={"Cache-Control": "no-cache"})


def _rows(session: Session, asked: Asked) -> Page[RunRow]:
    sort: Sort = asked.sort  # type: ignore[assignment]  # one of SORTS
    found = list_runs(session, asked.filter(), sort=sort, cursor=asked.cursor or None, limit=_PAGE)
    ids = [run.id for run in found.data]
    leading = leading_by_run(session, ids, scorer=asked.scorer or None, oracle=asked.oracle or None)
    return Page(data=[RunRow(run=run, leading=leading.get(run.id)) for run in found.data], next=found.next)


def _day(name: str, text: str, *, end: bool = False) -> datetime:
    """Midnight at the beginning of a day in UTC, or at its end."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=end)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name}: {text!r} is no day; write it as 2026-01-31") from error

"""GET /v1/history: correlations over runs and time, as rows or as groups, in pages or as a file."""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationInfo, field_validator
from sqlalchemy.orm import Session, sessionmaker

from evaluation.conditions import parse_tree
from service.access import needs
from service.db.history import SORTS, Order, fingerprint, rows_page, stream_rows
from service.db.history_filter import FIELDS, HistoryFilter
from service.db.history_grouping import Agg, Dimension, Grouping, check_grouping, dimension_kind
from service.db.history_groups import HistoryGroup, groups_page, stream_groups
from service.db.pages import DEFAULT_LIMIT
from service.db.records import CorrelationRecord, Page
from service.entity_tags import is_known
from service.exports import MEDIA_TYPES, Columns, Format, Row, columns_of, write
from service.jobs.queue import check_label
from service.routes.lifecycle import Limit, UtcTime
from service.sending import Exports, TakenResponse
from trainer.errors import InvalidInput
from trainer.manifest import code_version

router = APIRouter(prefix="/v1/history", tags=["history"], dependencies=[needs("read")])

Version = Annotated[int, Field(ge=0, lt=2**63)]


class HistoryQuery(BaseModel):
    """Which correlations, how they are grouped, and as what. All filters must hold, any value of each."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    run: list[str] = []
    name: list[str] = []
    """The job's name."""
    label: Annotated[list[str], Field(max_length=100)] = []
    """``key=value`` of the job; of each key any value."""
    policy: list[str] = []
    """``NAME@VERSION``"""
    scorer: list[str] = []
    scorer_version: list[Version] = []
    oracle: list[str] = []
    temperature: list[FiniteFloat | Literal["pooled"]] = []
    """``pooled`` is all temperatures together."""
    temperature_min: FiniteFloat | None = None
    temperature_max: FiniteFloat | None = None
    stratum: list[str] = []
    """``all`` responses, the ``untruncated`` or the ``non_degenerate`` ones."""
    statistic: list[str] = []
    created_after: UtcTime | None = None
    """From this time on; UTC where it names no zone."""
    created_before: UtcTime | None = None
    """Before this time."""
    where: Annotated[str, Field(max_length=2000)] | None = None
    """A condition such as ``scorer == 'rm' and (temperature >= 1.5 or label.team == 'search')``: docs/history.md."""
    group_by: list[Dimension] = []
    """Makes one number of all that have these in common."""
    agg: Annotated[Agg, Field(validate_default=True)] = "latest"
    """Which number: that of the latest, least or greatest row, the plain ``mean``, the inverse-variance mean
    (``combined``), or none (``count``)."""
    sort: str | None = None
    """A column, with ``-`` before it from its end; ``-created_at`` unless said. Of groups, what they are grouped by."""
    format: Literal["json", "csv", "ndjson", "parquet"] | None = None
    """json is paged; the others are all that fits. Without it the header Accept decides."""
    cursor: str | None = None
    """``next`` of the page before."""
    limit: Limit = DEFAULT_LIMIT

    @field_validator("label")
    @classmethod
    def _labels(cls, labels: list[str]) -> list[str]:
        for label in labels:
            key, separator, _ = label.partition("=")
            if not separator:
                raise ValueError(f"{label!r}: write key=value")
            _said_here(check_label, key)
        return labels

    @field_validator("where")
    @classmethod
    def _condition(cls, where: str | None) -> str | None:
        if where is not None:
            _said_here(parse_tree, where, FIELDS)
        return where

    @field_validator("agg")
    @classmethod
    def _groups(cls, agg: Agg, info: ValidationInfo) -> Agg:
        if by := info.data.get("group_by"):
            _said_here(check_grouping, Grouping(by, agg), info.data.get("statistic", []))
            if agg in {"mean", "combined"}:
                _refuse_overlaps(by, info.data)
        elif by is not None and agg != "latest":
            raise ValueError("is of groups: say group_by too")
        return agg

    @field_validator("sort")
    @classmethod
    def _column(cls, sort: str | None, info: ValidationInfo) -> str | None:
        choices = info.data.get("group_by") or SORTS
        if sort is not None and sort.removeprefix("-") not in choices:
            raise ValueError(f"{sort!r} is no column to sort by; use one of {', '.join(choices)}, or - before it")
        return sort

    def filter(self) -> HistoryFilter:
        """The same, for queries."""
        named = ("run", "name", "policy", "scorer", "scorer_version", "oracle", "stratum", "statistic")
        labels: dict[str, list[str]] = {}
        for label in self.label:
            key, _, value = label.partition("=")
            labels.setdefault(key, []).append(value)
        return HistoryFilter(
            values={
                **{name: getattr(self, name) for name in named},
                "temperature": [None if value == "pooled" else value for value in self.temperature],
            },
            labels=labels,
            temperature_min=self.temperature_min,
            temperature_max=self.temperature_max,
            created_after=self.created_after,
            created_before=self.created_before,
            where=None if self.where is None else parse_tree(self.where, FIELDS),
        )

    def order(self) -> Order:
        """How rows are sorted."""
        return Order() if self.sort is None else Order(self.sort.removeprefix("-"), self.sort.startswith("-"))

    def grouping(self) -> Grouping:
        """What groups are made, and how they are sorted."""
        first = None if self.sort is None else self.sort.removeprefix("-")
        return Grouping(self.group_by, self.agg, first, descending=(self.sort or "").startswith("-"))


_OVERLAPPING = {"all", "untruncated", "non_degenerate"}
"""Strata that share responses with others."""


def _refuse_overlaps(by: Sequence[str], asked: dict[str, Any]) -> None:
    """Raises ValueError where an average would count responses twice: in a part, and in all that it is a part of."""
    ranged = asked.get("temperature_min") is not None or asked.get("temperature_max") is not None
    temperatures = asked.get("temperature", [])
    apart = ranged or (temperatures and ("pooled" not in temperatures or set(temperatures) == {"pooled"}))
    if "temperature" not in by and not apart:
        raise ValueError(
            "an average would mix single temperatures with all of them together: say temperature=pooled or some"
            " temperatures as parameters, or group by temperature too"
        )
    strata = set(asked.get("stratum", []))
    if "stratum" not in by and (not strata or (len(strata) > 1 and strata & _OVERLAPPING)):
        raise ValueError(
            "an average would mix all responses with parts of them: say stratum=all as a parameter, or group by stratum"
            " too"
        )


def _said_here(check: Any, *arguments: Any) -> None:  # noqa: ANN401 - any check
    """Run a check of a parameter, so that what is wrong is told beside its name."""
    try:
        check(*arguments)
    except InvalidInput as error:
        raise ValueError(error.detail) from error


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {"ETag": {"schema": {"type": "string"}}},
        "content": {media.partition(";")[0]: {"schema": {"type": "string"}} for media in MEDIA_TYPES.values()},
    },
    304: {"description": "As it was when `If-None-Match` was given"},
}


@router.get("", response_model=Page[CorrelationRecord] | Page[HistoryGroup], responses=_ANSWERS)
def get_history(request: Request, query: Annotated[HistoryQuery, Query()]) -> Response:
    """Correlations of all runs, newest first, or one number for each group of them, always with n and an interval."""
    sessions: sessionmaker[Session] = request.app.state.sessions
    known = request.headers.get("if-none-match", "")
    if (chosen := query.format or _accepted(request)) == "json":
        with sessions() as session:
            content = _page(session, query).model_dump_json().encode()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return _unless_known(known, tag, Response(content, media_type="application/json"))
    if query.model_fields_set & {"cursor", "limit"}:
        raise InvalidInput(f"{chosen} is all that fits: leave out cursor and limit, or ask for json")
    with sessions() as session:
        found = [code_version(), chosen, query.model_dump(mode="json"), fingerprint(session, query.filter())]
    tag = f'W/"{hashlib.sha256(repr(found).encode()).hexdigest()[:32]}"'
    if is_known(known, tag):
        return _unless_known(known, tag, Response())
    parts = _file(request.app.state.exports, sessions, query, chosen)
    headers = {"Content-Disposition": f'attachment; filename="history.{chosen}"'}
    return _unless_known(known, tag, TakenResponse(parts, MEDIA_TYPES[chosen], headers))


def _page(session: Session, query: HistoryQuery) -> Page[CorrelationRecord] | Page[HistoryGroup]:
    if query.group_by:
        return groups_page(session, query.filter(), query.grouping(), cursor=query.cursor, limit=query.limit)
    return rows_page(session, query.filter(), query.order(), cursor=query.cursor, limit=query.limit)


def _file(
    exports: Exports,
    sessions: sessionmaker[Session],
    query: HistoryQuery,
    format: Format,  # noqa: A002
) -> Generator[bytes]:
    columns: Columns = columns_of(CorrelationRecord)
    if query.group_by:
        dimensions: Columns = {name: dimension_kind(name) for name in query.group_by}
        columns = {**dimensions, **columns_of(HistoryGroup, "group")}
    with exports.one(), sessions() as session, closing(_rows(session, query)) as rows:
        yield from write(format, columns, rows)


def _rows(session: Session, query: HistoryQuery) -> Generator[Row]:
    if not query.group_by:
        yield from stream_rows(session, query.filter(), query.order())
        return
    with closing(stream_groups(session, query.filter(), query.grouping())) as groups:
        yield from map(_flat, groups)


def _flat(group: Row) -> Row:
    return {**group["group"], **group}


def _accepted(request: Request) -> Format | Literal["json"]:
    """What the header weighs most, the first of equals; json where it names none, as a browser's does."""
    kinds: dict[str, Format | Literal["json"]] = {
        **{media.partition(";")[0]: name for name, media in MEDIA_TYPES.items()},
        "application/json": "json",
    }
    weights: dict[Format | Literal["json"], float] = {}
    for part in request.headers.get("accept", "").lower().split(","):
        media, *parameters = (each.strip() for each in part.split(";"))
        if media in kinds and (weight := _weight(parameters)) > 0:
            weights.setdefault(kinds[media], weight)
    return max(weights, key=weights.__getitem__, default="json")


def _weight(parameters: Sequence[str]) -> float:
    """``q`` of a media range (RFC 9110, section 12.4.2); 0 for what is none."""
    found = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
    try:
        return float(found)
    except ValueError:
        return 0.0


def _unless_known(known: str, tag: str, answer: Response) -> Response:
    """``answer`` with its tag; 304 alone where the caller has it already."""
    answer = Response(status_code=304) if is_known(known, tag) else answer
    answer.headers.update({"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"})
    return answer

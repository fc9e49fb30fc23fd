"""What the page of the history shows: choices as links, a course for each scorer or policy, and what it is made of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from evaluation.figures.history import history
from evaluation.scorers.controls import is_control
from evaluation.statistics.estimate import Estimated
from evaluation.wording import CORRELATIONS, label
from service.dashboard.views import Shown, shown
from service.db.history import rows_page
from service.db.history_choices import names_of, scorers_of, values_of
from service.db.history_filter import HistoryFilter, Plain
from service.db.history_grouping import Dimension, Grouping
from service.db.history_groups import HistoryGroup, Row, told_page
from service.db.pages import MAX_LIMIT
from service.db.records import CorrelationRecord
from service.wording import exact

_MOST_LINES = 6
"""Drawn unless somebody chooses: more hide each other."""

_BY: dict[str, tuple[Dimension, ...]] = {
    "scorer": ("scorer",),
    "version": ("scorer", "scorer_version"),
    "policy": ("policy", "scorer"),
}
_EVERY: dict[str, Dimension | None] = {"run": None, "day": "day", "week": "week", "month": "month"}


@dataclass(frozen=True)
class Asked:
    """What the address of the page says. None and empty leave it to the page."""

    statistic: str | None = None
    oracle: str | None = None
    stratum: str | None = None
    temperature: str | None = None
    """A number, or ``pooled``."""
    scorer: Sequence[str] = ()
    by: str = "scorer"
    """A line for each ``scorer``, for each ``version`` of one, or for each ``policy``."""
    every: str = "run"
    """Each ``run`` is a point, or those of a ``day``, ``week`` or ``month`` together are one."""

    def query(self, **changes: Any) -> str:  # noqa: ANN401 - any field
        """The page with some of it changed, as the query of its address."""
        fields = {**vars(self), **changes}
        several = {name: [value] if isinstance(value, str) else value for name, value in fields.items() if value}
        return "&".join(_spelled_out(name, value) for name, values in several.items() for value in values)


@lru_cache(1000)
def _spelled_out(name: str, value: str) -> str:
    """A page has many links, which say nearly the same."""
    return urlencode({name: value})


@dataclass(frozen=True)
class Choice:
    """A link to the page as it would be."""

    text: str
    query: str
    current: bool


@dataclass(frozen=True)
class Point:
    """One number of one course."""

    at: datetime
    course: str
    """The line it is on."""
    who: str
    """The scorer, and its version where it is one's."""
    policy: str | None
    control: bool
    estimate: Estimated
    run: str | None
    """Where it is one run's."""
    n_runs: int
    n_distinct: int | None
    """Different prompts, where several runs are together; None where some run's are not known."""


@dataclass(frozen=True)
class HistoryView:
    """All of the page."""

    asked: Asked
    """What the page settled on."""
    replaced: list[str]
    """What was asked for and is not there, in a sentence each."""
    choices: dict[str, list[Choice]]
    """By what they choose."""
    points: list[Point]
    """Newest first."""
    more: bool
    """Whether older ones were left out."""
    names: dict[str, str]
    """By run."""
    query: str
    """What ``/v1/history`` is asked for the same numbers."""
    figure: Shown | None


def history_view(session: Session, asked: Asked) -> HistoryView | None:
    """The page for what was asked; None where nothing was ever measured."""
    statistics = values_of(session, "statistic")
    if not statistics:
        return None
    settled = _Settled(session, asked, statistics)
    asked, chosen = settled.asked, settled.chosen
    where = HistoryFilter(values={**{name: [value] for name, value in chosen.items()}, "scorer": asked.scorer})
    period = _EVERY[asked.every]
    points, more = _runs(session, where, asked) if period is None else _periods(session, where, asked, period)
    return HistoryView(
        asked=asked,
        replaced=settled.replaced,
        choices=settled.choices,
        points=points,
        more=more,
        names=names_of(session, {point.run for point in points if point.run is not None}),
        query=_api_query(asked, period),
        figure=_figure(points, asked),
    )


class _Settled:
    """Each choice among what there is below the choices before it, in the order of the index that answers them."""

    def __init__(self, session: Session, asked: Asked, statistics: Sequence[str]) -> None:
        self.replaced: list[str] = []
        self.chosen: dict[str, Plain] = {}
        told_first = [*CORRELATIONS, *statistics]
        there: dict[str, list[Any]] = {"statistic": sorted(statistics, key=told_first.index)}
        self._settle("statistic", asked.statistic, there["statistic"], there["statistic"][0])
        for name in ("oracle", "stratum", "temperature"):
            values = there[name] = values_of(session, name, **self.chosen)
            wanted = _temperature(asked.temperature) if name == "temperature" else getattr(asked, name)
            self._settle(name, wanted, values, _preferred(name, values))
        scorers = scorers_of(session, **self.chosen)
        scorers.sort(key=is_control)
        lines = [name for name in asked.scorer if name in scorers]
        self.replaced += [f"no scorer {name}" for name in asked.scorer if name not in scorers]
        if asked.by not in _BY:
            self.replaced.append(f"no line for each {asked.by}")
        if asked.every not in _EVERY:
            self.replaced.append(f"no point for each {asked.every}")
        learned = [name for name in scorers if not is_control(name)] or scorers
        self.asked = replace(
            asked,
            statistic=str(self.chosen["statistic"]),
            oracle=str(self.chosen["oracle"]),
            stratum=str(self.chosen["stratum"]),
            temperature=_spelled(self.chosen["temperature"]),
            scorer=lines or learned[: 1 if asked.by == "policy" else _MOST_LINES],
            by=asked.by if asked.by in _BY else "scorer",
            every=asked.every if asked.every in _EVERY else "run",
        )
        self.choices = {
            "statistic": self._links("statistic", there["statistic"], label),
            "oracle": self._links("oracle", there["oracle"]),
            "stratum": self._links("stratum", there["stratum"], lambda name: name.replace("_", "-")),
            "temperature": self._links("temperature", [_spelled(each) for each in there["temperature"]], _told),
            "scorer": [self._toggle(name) for name in scorers],
            "by": self._links("by", _BY),
            "every": self._links("every", _EVERY),
        }

    def _settle(self, name: str, wanted: Plain, there: Sequence[Plain], preferred: Plain) -> None:
        if wanted is not None and wanted not in there:
            self.replaced.append(f"no {name} {wanted}")
        self.chosen[name] = wanted if wanted is not None and wanted in there else preferred

    def _links(self, name: str, values: Iterable[str], text: Callable[[str], str] = str) -> list[Choice]:
        current = getattr(self.asked, name)
        return [Choice(text(value), self.asked.query(**{name: value}), value == current) for value in values]

    def _toggle(self, scorer: str) -> Choice:
        shown = scorer in self.asked.scorer
        others = [name for name in self.asked.scorer if name != scorer]
        return Choice(scorer, self.asked.query(scorer=others if shown else [*others, scorer]), shown)


def _preferred(name: str, there: Sequence[Plain]) -> Plain:
    """All responses and all temperatures together, else the highest; of anything else the first."""
    common: Plain = {"stratum": "all", "temperature": None}.get(name, there[0])
    return common if common in there else there[-1] if name == "temperature" else there[0]


def _temperature(text: str | None) -> float | str | None:
    """What the address names; the text itself where it is no number, which is then not there."""
    if text is None or text == "pooled":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _spelled(temperature: Plain) -> str:
    return "pooled" if temperature is None else exact(float(temperature))


def _told(temperature: str) -> str:
    return "all T" if temperature == "pooled" else f"T = {temperature}"


def _runs(session: Session, where: HistoryFilter, asked: Asked) -> tuple[list[Point], bool]:
    page = rows_page(session, where, limit=MAX_LIMIT)
    return [_of_run(row, asked.by, len(asked.scorer) > 1) for row in page.data], page.next is not None


def _of_run(row: CorrelationRecord, by: str, several: bool) -> Point:
    who = _versioned(row.scorer, row.scorer_version)
    estimate = Estimated.model_validate(row, from_attributes=True)
    course = {"scorer": row.scorer, "version": who}.get(by) or _of_policy(row.policy, row.scorer, several)
    return Point(row.created_at, course, who, row.policy, is_control(row.scorer), estimate, row.run, 1, None)


def _periods(session: Session, where: HistoryFilter, asked: Asked, period: Dimension) -> tuple[list[Point], bool]:
    grouping = Grouping([period, *_BY[asked.by]], "combined", first=period, descending=True)
    page = told_page(session, where, grouping, limit=MAX_LIMIT)
    return [_of_period(each, period, asked) for each in page.data], page.next is not None


_TOLD = Estimated.model_fields.keys() & HistoryGroup.model_fields.keys()


def _of_period(found: Row, period: str, asked: Asked) -> Point:
    scorer, version, policy = (found["group"].get(name) for name in ("scorer", "scorer_version", "policy"))
    who = _versioned(scorer, version)
    course = _of_policy(policy, scorer, len(asked.scorer) > 1) if asked.by == "policy" else who
    numbers = {name: found[name] for name in _TOLD}
    return Point(
        at=datetime.fromisoformat(str(found["group"][period])).replace(tzinfo=UTC),
        course=course,
        who=who,
        policy=None if policy is None else str(policy),
        control=is_control(str(scorer)),
        estimate=Estimated(oracle=str(asked.oracle), **numbers),
        run=None,
        n_runs=found["n_runs"],
        n_distinct=found["n_distinct_prompts"],
    )


def _versioned(scorer: Plain, version: Plain) -> str:
    """``NAME@VERSION``, also where that is how the run calls the scorer already."""
    name = f"{scorer}"
    return name if version is None or name.partition(":")[0].endswith(f"@{version}") else f"{name}@{version}"


def _of_policy(policy: Plain, scorer: Plain, several: bool) -> str:
    whose = f"{policy}" if policy is not None else "no policy"
    return f"{whose}, {scorer}" if several else whose


def _api_query(asked: Asked, period: Dimension | None) -> str:
    named = {name: getattr(asked, name) for name in ("statistic", "oracle", "stratum", "temperature", "scorer")}
    grouped: dict[str, Any] = {}
    if period is not None:
        grouped = {"group_by": [period, *_BY[asked.by]], "agg": "combined", "sort": f"-{period}"}
    return urlencode({**named, **grouped}, doseq=True)


def _figure(points: Sequence[Point], asked: Asked) -> Shown | None:
    if not any(point.estimate.estimate is not None for point in points):
        return None
    courses: dict[str, list[tuple[datetime, Estimated]]] = {}
    for point in sorted(points, key=lambda point: (point.course, point.at)):
        courses.setdefault(point.course, []).append((point.at, point.estimate))
    controls = {point.course for point in points if point.control} if asked.by != "policy" else set()
    return shown(history(courses, str(asked.statistic), str(asked.oracle), controls), "history")

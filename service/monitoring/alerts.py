"""What is raised: the lower end of trust below its bound, that of a drift above its own, or audits that stopped."""

from collections.abc import Iterator

from evaluation.wording import label, number
from service.db.monitored import Crossed
from service.db.tables import Alert
from service.jobs.samples import MISSED_PERIODS
from service.monitoring.audits import Overdue
from service.monitoring.state import AlertRecord, ScorerState
from service.settings import Settings
from service.wording import count

_MOVED = {"score": "a share of the scores", "length": "a share of the lengths", "truncated": "the share of prompts cut"}

Found = tuple[Crossed, bool]
"""A bound, and whether it is crossed."""


def bounds(state: ScorerState, settings: Settings) -> Iterator[Found]:
    """Every bound that can be judged now. A number without an interval, or stale, says neither that all is well nor
    that it is not, so that what was raised stays."""
    for trust in state.trust:
        lower, least = trust.latest.lower, settings.monitor_min_lower
        if lower is None or trust.stale:
            continue
        bound = -1.0 if least is None else least
        found, wanted = _apart(lower, bound)
        said = f"{label(trust.statistic)} with {trust.oracle}: lower end {found}, at least {wanted} wanted"
        yield Crossed("trust", state.scorer, trust.oracle, lower, bound, said), least is not None and lower < least
    if state.drift is None:
        return
    for measure, size in state.drift.least().items():
        most = settings.monitor_max_drift
        bound = 1.0 if most is None else most
        found, wanted = _apart(size, bound)
        said = f"{_MOVED[measure]} moved by {found} or more, at most {wanted} wanted"
        yield Crossed("drift", state.scorer, measure, size, bound, said), most is not None and size > most


def _apart(value: float, bound: float) -> tuple[str, str]:
    """Both in words, with a third digit where they would look the same."""
    found, wanted = number(value), number(bound)
    return (found, wanted) if found != wanted else (f"{value:.3f}", f"{bound:.3f}")


def audits_stopped(scorer: str, found: Overdue | None) -> Found:
    """Whether trust in ``scorer`` is no longer kept up."""
    if found is None:
        return Crossed("stale", scorer, "audits", 0.0, MISSED_PERIODS, ""), False
    begun = f"{found.since:%Y-%m-%d %H:%M} UTC"
    detail = f"no audit has ended for {count(found.periods, 'period')}: what was scored from {begun} on was not judged"
    return Crossed("stale", scorer, "audits", float(found.periods), float(MISSED_PERIODS), detail), True


def record_of(alert: Alert) -> AlertRecord:
    """As it is answered and told."""
    fields = ("id", "kind", "scorer", "subject", "lower", "threshold", "detail")
    times = ("raised_at", "acknowledged_at", "cleared_at")
    state = "raised" if alert.cleared_at is None else "cleared"
    return AlertRecord.model_validate({"state": state} | {name: getattr(alert, name) for name in (*fields, *times)})

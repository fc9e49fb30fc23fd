"""The audit of the sample: an ordinary job, queued once a period by whichever server comes first, and missed where it
stays away.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.monitored import first_audit_of
from service.db.served import has_pairs, sampled_pairs
from service.db.tables import Job
from service.jobs.kinds import AUDIT_KINDS, ParseRecipe
from service.jobs.queue import submit
from service.jobs.samples import MISSED_PERIODS, SAMPLES, SampleAudit, audits_begin_with
from service.settings import Settings
from trainer.errors import Conflict, InvalidInput
from trainer.files import write_atomically
from trainer.recipe import Recipe, read_recipe

LEAST_PAIRS = 20
"""Fewer are left for the next period."""

MOST_PAIRS = 500
"""Unless the recipe has a ``limit``: judgements may cost money."""


@dataclass(frozen=True)
class Schedule:
    """How often, and with what settings."""

    period: timedelta
    recipe: dict[str, Any]

    def started(self, now: datetime) -> datetime:
        """When the present period began: periods are counted from 1970, so that servers agree."""
        return datetime.fromtimestamp(now.timestamp() // self.seconds * self.seconds, UTC)

    def audit_of(self, scorer: str, path: Path, parse: ParseRecipe) -> Recipe:
        """The job's recipe. Raises InvalidInput for one that cannot be."""
        content = {"name": "monitoring", "on_overlong": "truncate_prompt", **self.recipe}
        return parse({**content, "kind": AUDIT_KINDS[0], "path": str(path), "scorers": [scorer]})

    @property
    def seconds(self) -> float:
        return self.period.total_seconds()


def read_schedule(settings: Settings, parse: ParseRecipe) -> Schedule | None:
    """What the operator asks for; None where that is nothing.

    Raises InvalidInput for what can come to nothing: no sample, one without texts, no oracle, a bad recipe.
    """
    if settings.monitor_audit_hours is None:
        return None
    if settings.monitor_share == 0 or settings.monitor_keep != "text":
        raise InvalidInput(
            "ASSAY_MONITOR_AUDIT_HOURS is set, and an oracle judges texts: set ASSAY_MONITOR_SHARE above 0 and"
            " ASSAY_MONITOR_KEEP=text, or leave audits out"
        )
    if settings.monitor_audit_recipe is None:
        raise InvalidInput(
            "ASSAY_MONITOR_AUDIT_HOURS is set: name the file with the oracles in ASSAY_MONITOR_AUDIT_RECIPE"
        )
    periods = 1 + MISSED_PERIODS
    if settings.monitor_keep_days * 24 < periods * settings.monitor_audit_hours:
        raise InvalidInput(
            f"ASSAY_MONITOR_KEEP_DAYS is less than {periods} periods of ASSAY_MONITOR_AUDIT_HOURS: texts would be"
            " deleted before anybody is told that no audit judged them; keep them longer, or audit more often"
        )
    recipe = read_recipe(settings.monitor_audit_recipe)
    if taken := sorted({"kind", "path", "scorers"} & recipe.keys()):
        raise InvalidInput(f"{settings.monitor_audit_recipe}: leave out {', '.join(taken)}, which each audit is given")
    if not recipe.get("judges") and not recipe.get("oracles"):
        raise InvalidInput(f"{settings.monitor_audit_recipe}: give judges, a list of oracles; see docs/monitoring.md")
    schedule = Schedule(timedelta(hours=settings.monitor_audit_hours), recipe)
    try:
        schedule.audit_of("any@1", Path("sample.jsonl"), parse)
    except InvalidInput as error:
        raise InvalidInput(f"{settings.monitor_audit_recipe}: {error.detail}") from error
    return schedule


def queue_audit(
    make_session: sessionmaker[Session],
    settings: Settings,
    parse: ParseRecipe,
    schedule: Schedule,
    scorer: str,
    now: datetime,
) -> str | None:
    """Queue the audit of the period that has ended, of ``scorer``; None where that was done or there is too little.

    Raises InvalidInput for a recipe that cannot be, Overloaded where the queue is full.
    """
    audit = SampleAudit(scorer, schedule.started(now), schedule.period)
    most = int(schedule.recipe.get("limit") or MOST_PAIRS)
    with make_session() as session:
        if session.scalar(select(Job.id).where(Job.idempotency_key == audit.key)) is not None:
            return None
        pairs = list(sampled_pairs(session, scorer, since=audit.texts_since, before=audit.start, most=most))
    if len(pairs) < LEAST_PAIRS:
        return None
    text = "".join(json.dumps({**pair, "oracles": {}}) + "\n" for pair in pairs)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = settings.runs_dir.absolute() / SAMPLES / f"{name}.jsonl"
    recipe = schedule.audit_of(scorer, path, parse)
    write_atomically(path, text)
    os.utime(path, (audit.texts_since.timestamp(),) * 2)  # kept as long as the texts in it
    try:
        return submit(make_session, recipe, settings, idempotency_key=audit.key)
    except Conflict:  # another server was first, with a row more or less
        path.unlink(missing_ok=True)
        return None


@dataclass(frozen=True)
class Overdue:
    """Audits that were due and are not there."""

    since: datetime
    """Nothing that was served from then on has been judged."""
    periods: int
    """How many whole ones have gone by without an audit."""


def overdue(
    session: Session, schedule: Schedule, scorer: str, latest: SampleAudit | None, now: datetime
) -> Overdue | None:
    """Whether pairs enough for an audit, all of one period, have waited for one for two more; None where all is well.

    What nobody scores with any more has nothing that waits. ``latest`` is the latest audit that ended; without one the
    first that was queued says when waiting began, and before that nothing is late.
    """
    if latest is not None:
        since = latest.start
    else:
        first = SampleAudit.read(first_audit_of(session, audits_begin_with(scorer)) or "")
        if first is None:
            return None
        since = first.texts_since
    due = schedule.started(now) - MISSED_PERIODS * schedule.period
    if not has_pairs(session, scorer, since=since, before=due, period=schedule.period, least=LEAST_PAIRS):
        return None
    return Overdue(since, int((now - since) / schedule.period) - 1)

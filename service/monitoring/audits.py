"""The audit of the sample: an ordinary job, queued once a period by whichever server comes first."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.served import sampled_pairs
from service.db.tables import Job
from service.jobs.kinds import AUDIT_KINDS, ParseRecipe
from service.jobs.queue import submit
from service.jobs.retention import SAMPLES
from service.settings import Settings
from trainer.errors import Conflict, InvalidInput
from trainer.files import write_atomically
from trainer.recipe import read_recipe

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

    @property
    def seconds(self) -> float:
        return self.period.total_seconds()


def read_schedule(settings: Settings) -> Schedule | None:
    """What the operator asks for; None where that is nothing.

    Raises InvalidInput for what can come to nothing: no sample, a sample without texts, no oracle.
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
    recipe = read_recipe(settings.monitor_audit_recipe)
    if taken := sorted({"kind", "path", "scorers"} & recipe.keys()):
        raise InvalidInput(f"{settings.monitor_audit_recipe}: leave out {', '.join(taken)}, which each audit is given")
    if not recipe.get("judges") and not recipe.get("oracles"):
        raise InvalidInput(f"{settings.monitor_audit_recipe}: give judges, a list of oracles; see docs/monitoring.md")
    return Schedule(timedelta(hours=settings.monitor_audit_hours), recipe)


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
    start = schedule.started(now)
    key = f"{SAMPLES}:{scorer}:{start:%Y-%m-%dT%H:%M:%S}/{schedule.seconds:g}s"
    most = int(schedule.recipe.get("limit") or MOST_PAIRS)
    with make_session() as session:
        if session.scalar(select(Job.id).where(Job.idempotency_key == key)) is not None:
            return None
        pairs = list(sampled_pairs(session, scorer, since=start - schedule.period, before=start, most=most))
    if len(pairs) < LEAST_PAIRS:
        return None
    text = "".join(json.dumps({**pair, "oracles": {}}) + "\n" for pair in pairs)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = settings.runs_dir.absolute() / SAMPLES / f"{name}.jsonl"
    content = {"name": "monitoring", "on_overlong": "truncate_prompt", **schedule.recipe}
    recipe = parse({**content, "kind": AUDIT_KINDS[0], "path": str(path), "scorers": [scorer]})
    write_atomically(path, text)
    try:
        return submit(make_session, recipe, settings, idempotency_key=key)
    except Conflict:  # another server was first, with a row more or less
        path.unlink(missing_ok=True)
        return None

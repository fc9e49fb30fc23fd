"""One thread that looks at the sample now and then: drift, audits, trust, alerts, the webhook."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from service.db.drifts import keep_drifts
from service.db.monitored import (
    MOST_AUDITS,
    Crossed,
    audits_of,
    forget_states,
    keep_state,
    open_keys,
    settle_alerts,
)
from service.db.served import sampled_scorers
from service.db.session import writing
from service.db.tables import Correlation
from service.jobs.kinds import ParseRecipe
from service.jobs.samples import SAMPLES, SampleAudit
from service.monitoring.alerts import Found, audits_stopped, bounds
from service.monitoring.audits import overdue, queue_audit, read_schedule
from service.monitoring.drift import drift_of
from service.monitoring.reference import NOT_YET, reference_of
from service.monitoring.state import Agreed, ScorerState, Trust, as_of
from service.monitoring.webhook import tell
from service.settings import Settings

_Found = TypeVar("_Found")


class Watch:
    """Works only where a share is kept. Several servers may watch one sample: each finds the same."""

    def __init__(self, settings: Settings, make_session: sessionmaker[Session], parse: ParseRecipe) -> None:
        """Raises InvalidInput for a schedule that can come to nothing."""
        self._settings = settings
        self._make_session = make_session
        self._parse = parse
        self._schedule = read_schedule(settings, parse)
        self._artifacts = settings.open_artifacts()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitoring", daemon=True)

    def start(self) -> None:
        """Begin, if there is something to watch."""
        if self._settings.monitor_share > 0:
            self._thread.start()

    def stop(self) -> None:
        """Finish the present look and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.monitor_check_seconds):
            self.look(datetime.now(UTC))

    def look(self, now: datetime) -> None:
        """Once, at ``now``; what fails is logged and leaves the rest alone."""
        counts = self._guard(self._count, now) or {}
        for scorer, rows in counts.items():
            self._guard(self._renew, scorer, rows, now)
            self._guard(self._audit, scorer, now)
        self._guard(tell, self._make_session, self._settings)

    def _count(self, now: datetime) -> dict[str, int]:
        """Scores in the sample, by scorer; of scorers without any nothing is known from here on."""
        with self._make_session() as session:
            counts = dict(sampled_scorers(session, now - timedelta(days=self._settings.monitor_keep_days)))
        with writing(self._make_session) as session:
            forget_states(session, list(counts), now)
        return counts

    def _guard(self, step: Callable[..., _Found], *arguments: object) -> _Found | None:
        """One step that fails must not take the others with it."""
        try:
            return step(*arguments)
        except IntegrityError:  # another server stored the same a moment before
            logging.getLogger(__name__).info("monitoring: another server was first")
        except Exception:
            logging.getLogger(__name__).exception("monitoring: %s failed; trying again", step.__name__)
        return None

    def _renew(self, scorer: str, rows: int, now: datetime) -> None:
        """Store what is known of ``scorer``, and settle its alerts."""
        with self._make_session() as session:
            reference = reference_of(session, self._artifacts, scorer)
            drift = None if reference is None else drift_of(session, scorer, reference, now)
            found = audits_of(session, scorer, self._settings.monitor_statistic, f"{SAMPLES}:")
        found.sort(key=lambda each: _start(each[1]), reverse=True)  # one that waited long may end after the next
        state = ScorerState(
            scorer=scorer,
            rows=rows,
            reference=NOT_YET if reference is None else reference.words,
            reference_kind="validation" if reference is not None and reference.is_validation else "first_scores",
            drift=drift,
            trust=_trust(found),
        )
        stored = None if reference is None else reference.stored()
        [known] = as_of(now, [state.model_dump(mode="json")])
        judged = [*bounds(known, self._settings), *self._stopped(scorer, found, now)]
        with writing(self._make_session) as session:
            keep_state(session, scorer, reference=stored, state=state.model_dump(mode="json"), now=now)
            crossed = [bound for bound, is_crossed in judged if is_crossed]
            sound = [bound.key for bound, is_crossed in judged if not is_crossed]
            settle_alerts(session, crossed, [*sound, *_asked_no_more(open_keys(session), state)], now)

        if drift is not None:
            with writing(self._make_session) as session:
                compared = (drift.n_reference, state.reference_kind)
                keep_drifts(session, scorer, drift.counted(), compared=compared, now=now)

    def _stopped(self, scorer: str, found: list[tuple[Correlation, str]], now: datetime) -> list[Found]:
        """Whether audits that are due stay away."""
        if self._schedule is None:
            return [audits_stopped(scorer, None)]
        ended = [audit for _, key in found if (audit := SampleAudit.read(key)) is not None]
        latest = max(ended, key=lambda audit: audit.start, default=None)
        with self._make_session() as session:
            return [audits_stopped(scorer, overdue(session, self._schedule, scorer, latest, now))]

    def _audit(self, scorer: str, now: datetime) -> None:
        if self._schedule is not None:
            queue_audit(self._make_session, self._settings, self._parse, self._schedule, scorer, now)


def _asked_no_more(opened: list[tuple[str, str]], state: ScorerState) -> list[str]:
    """Keys of open alerts of oracles that the newest audit left out."""
    asked = {Crossed("trust", state.scorer, each.oracle, 0.0, 0.0, "").key for each in state.trust}
    ours = [key for key, scorer in opened if scorer == state.scorer and key.startswith("trust ")]
    return [key for key in ours if asked and key not in asked]


def _trust(found: list[tuple[Correlation, str]]) -> list[Trust]:
    """By oracle, of those that the newest audit asked; others are asked no more."""
    by_oracle: dict[str, list[tuple[Correlation, str]]] = {}
    for row, key in found:
        by_oracle.setdefault(row.oracle, []).append((row, key))
    return [
        Trust(
            oracle=oracle,
            statistic=rows[0][0].statistic,
            audits=[_agreed(row) for row, _ in rows[:MOST_AUDITS]],
            fresh_until=_fresh_until(rows[0][1]),
        )
        for oracle, rows in by_oracle.items()
        if rows[0][0].run == found[0][0].run
    ]


def _start(key: str) -> datetime:
    audit = SampleAudit.read(key)
    return datetime.min.replace(tzinfo=UTC) if audit is None else audit.start


def _fresh_until(key: str) -> datetime | None:
    audit = SampleAudit.read(key)
    return None if audit is None else audit.fresh_until


def _agreed(row: Correlation) -> Agreed:
    fields = ("run", "estimate", "lower", "upper", "n_prompts", "n_responses", "undefined_reason")
    return Agreed.model_validate({"at": row.created_at} | {name: getattr(row, name) for name in fields})

"""Where scorers are weakest, by the interval of r within prompts: what lists of runs and the overview go by."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, Subquery, and_, func, insert, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from evaluation.scorers.controls import CONTROLS, UNTRAINED
from service.db.records import CorrelationRecord
from service.db.tables import Correlation, Job, WeakestAgreement

WITHIN = "pearson_within"


def store_weakest(session: Session, run: str) -> None:
    """Note where each scorer of a run is weakest; its correlations and its job must be there."""
    found = weakest(Correlation.run == run)
    session.execute(insert(WeakestAgreement).from_select(found.selected_columns.keys(), found))


def weakest(where: ColumnElement[bool]) -> "Select[*tuple[Any, ...]]":
    """The rows of ``weakest_agreements`` for some correlations: of each scorer's version by each oracle in each run
    the one whose interval starts lowest."""
    same = (Correlation.run, Correlation.scorer, Correlation.scorer_version, Correlation.oracle)
    place = func.row_number().over(
        partition_by=same, order_by=[Correlation.lower.is_(None), Correlation.lower, Correlation.number]
    )
    measured = and_(
        *(Correlation.statistic == WITHIN, Correlation.stratum == "all", Correlation.scorer != Correlation.oracle),
        # all temperatures of a stress test together hide the worst of them; an audit may have recorded none
        or_(Correlation.temperature.is_not(None), Job.kind != "stress_test"),
    )
    placed = select(*same, Correlation.number, Correlation.lower, place.label("place"))
    found = placed.join(Job, Job.id == Correlation.run).where(where, measured).subquery()
    return select(*(column for column in found.c if column.key != "place")).where(found.c.place == 1)


def leading_by_run(
    session: Session, runs: Sequence[str], *, scorer: str | None = None, oracle: str | None = None
) -> dict[str, CorrelationRecord]:
    """By run the scorer whose interval starts highest where it is weakest, at that temperature and oracle.

    A scorer is as weak as at its worst temperature by its worst oracle. ``scorer``, which may be a control, and
    ``oracle`` are the only ones looked at where they are given.
    """
    asked = _known(scorer, oracle)
    weakness = func.row_number().over(
        partition_by=[WeakestAgreement.run, WeakestAgreement.scorer, WeakestAgreement.scorer_version],
        order_by=[WeakestAgreement.lower, WeakestAgreement.number],
    )
    of_all = select(WeakestAgreement, weakness.label("weakness")).where(WeakestAgreement.run.in_(runs), *asked)
    of_scorers = of_all.subquery()
    rank = func.row_number().over(
        partition_by=of_scorers.c.run, order_by=[of_scorers.c.lower.desc(), of_scorers.c.number]
    )
    ranked = select(of_scorers, rank.label("rank")).where(of_scorers.c.weakness == 1).subquery()
    first = select(ranked).where(ranked.c.rank == 1).subquery()
    rows = session.scalars(select(Correlation).join(first, _row_of(first)))
    return {each.run: CorrelationRecord.model_validate(each) for each in rows}


def leading_lower(
    run: InstrumentedAttribute[str], *, scorer: str | None = None, oracle: str | None = None
) -> ScalarSelect[float | None]:
    """Where the interval begins that ``leading_by_run`` takes of a run; NULL where there is none."""
    asked = [WeakestAgreement.run == run, *_known(scorer, oracle)]
    weakest = select(func.min(WeakestAgreement.lower).label("lower")).where(*asked).correlate(run.parent)
    each = weakest.group_by(WeakestAgreement.scorer, WeakestAgreement.scorer_version).subquery()
    return select(func.max(each.c.lower)).scalar_subquery()


def latest_runs(session: Session, *, kinds: Sequence[str], most: int, but: str) -> list[str]:
    """Up to ``most`` runs of ``kinds`` that succeeded, the latest first.

    Those whose idempotency key begins with ``but`` are left out.
    """
    succeeded = select(Job.id).where(Job.kind.in_(kinds), Job.status == "succeeded", without_key(but))
    return list(session.scalars(succeeded.order_by(Job.created_at.desc(), Job.id.desc()).limit(most)))


def without_key(beginning: str) -> ColumnElement[bool]:
    """Jobs whose idempotency key does not begin so, or that have none."""
    return or_(Job.idempotency_key.is_(None), ~Job.idempotency_key.startswith(beginning, autoescape=True))


def latest_by_scorer(session: Session, runs: Sequence[str]) -> list[CorrelationRecord]:
    """Every learned scorer's version against every oracle where it is weakest, in the latest of ``runs`` that found an
    interval for both.

    A version for which none of them did is there with a row that has none. By oracle, the surest first.
    """
    same = [WeakestAgreement.scorer, WeakestAgreement.scorer_version, WeakestAgreement.oracle]
    # with one response a prompt, as audits often have, there is nothing to say within prompts: that erases nothing
    age = func.row_number().over(
        partition_by=same, order_by=[WeakestAgreement.lower.is_(None), Job.created_at.desc(), Job.id.desc()]
    )
    aged = (
        select(WeakestAgreement, age.label("age"))
        .join(Job, Job.id == WeakestAgreement.run)
        .where(WeakestAgreement.run.in_(runs), _not_a_control())
        .subquery()
    )
    latest = select(aged).where(aged.c.age == 1).subquery()
    order = (Correlation.oracle, Correlation.lower.is_(None), Correlation.lower.desc(), Correlation.scorer)
    rows = session.scalars(select(Correlation).join(latest, _row_of(latest)).order_by(*order))
    return [CorrelationRecord.model_validate(each) for each in rows]


def named(scorer: str) -> ColumnElement[bool]:
    """Agreements of ``NAME``, whatever its version, or of ``NAME@3``."""
    name, _, version = scorer.rpartition("@")
    exact = WeakestAgreement.scorer == scorer
    if not name or not version.isdecimal() or len(version) > 9:
        return exact
    return or_(exact, and_(WeakestAgreement.scorer == name, WeakestAgreement.scorer_version == int(version)))


def _known(scorer: str | None, oracle: str | None) -> list[ColumnElement[bool]]:
    """Agreements with an interval, of learned scorers or of the one named, by any oracle or the one named."""
    asked = [WeakestAgreement.lower.is_not(None), _not_a_control() if scorer is None else named(scorer)]
    return asked if oracle is None else [*asked, WeakestAgreement.oracle == oracle]


def _not_a_control() -> ColumnElement[bool]:
    """As ``evaluation.scorers.controls.is_control`` has it."""
    scorer = WeakestAgreement.scorer
    untrained = or_(scorer.like(f"%:{UNTRAINED}"), scorer.like(f"%:{UNTRAINED}@%"))
    return and_(scorer.not_in(list(CONTROLS)), ~untrained)


def _row_of(found: Subquery) -> ColumnElement[bool]:
    return and_(Correlation.run == found.c.run, Correlation.number == found.c.number)

"""Where scorers are weakest, by the interval of r within prompts: what lists of runs and the overview go by."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Subquery, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from evaluation.scorers.controls import CONTROLS, UNTRAINED
from service.db.records import CorrelationRecord
from service.db.tables import Correlation, Job

WITHIN = "pearson_within"


def leading_by_run(
    session: Session, runs: Sequence[str], *, scorer: str | None = None, oracle: str | None = None
) -> dict[str, CorrelationRecord]:
    """By run the scorer whose interval starts highest where it is weakest, at that temperature and oracle.

    A scorer is as weak as at its worst temperature by its worst oracle. ``scorer``, which may be a control, and
    ``oracle`` are the only ones looked at where they are given.
    """
    found = leading(Correlation.run.in_(runs), scorer=scorer, oracle=oracle)
    row = aliased(Correlation, found)
    return {each.run: CorrelationRecord.model_validate(each) for each in session.scalars(select(row))}


def leading(where: ColumnElement[bool], *, scorer: str | None = None, oracle: str | None = None) -> Subquery:
    """The rows that ``leading_by_run`` takes, one for each run, as a subquery."""
    asked = [where, _measured(), Correlation.lower.is_not(None), _worst_may_be_here()]
    asked.append(_not_a_control() if scorer is None else named(scorer))
    if oracle is not None:
        asked.append(Correlation.oracle == oracle)
    weakness = func.row_number().over(
        partition_by=[Correlation.run, Correlation.scorer, Correlation.scorer_version],
        order_by=[Correlation.lower, Correlation.number],
    )
    weakest = (
        select(Correlation, weakness.label("weakness")).join(Job, Job.id == Correlation.run).where(*asked).subquery()
    )
    rank = func.row_number().over(partition_by=weakest.c.run, order_by=[weakest.c.lower.desc(), weakest.c.number])
    ranked = select(weakest, rank.label("rank")).where(weakest.c.weakness == 1).subquery()
    return select(ranked).where(ranked.c.rank == 1).subquery()


def latest_runs(session: Session, *, kinds: Sequence[str], most: int, but: str) -> list[str]:
    """Up to ``most`` runs of ``kinds`` that succeeded, the latest first.

    Those whose idempotency key begins with ``but`` are left out.
    """
    others = or_(Job.idempotency_key.is_(None), ~Job.idempotency_key.startswith(but, autoescape=True))
    succeeded = select(Job.id).where(Job.kind.in_(kinds), Job.status == "succeeded", others)
    return list(session.scalars(succeeded.order_by(Job.created_at.desc(), Job.id.desc()).limit(most)))


def latest_by_scorer(session: Session, runs: Sequence[str]) -> list[CorrelationRecord]:
    """Every learned scorer's version against every oracle where it is weakest, in the latest of ``runs`` that found an
    interval for both.

    A version for which none of them did is there with a row that has none. By oracle, the surest first.
    """
    same = [Correlation.scorer, Correlation.scorer_version, Correlation.oracle]
    # with one response a prompt, as audits often have, there is nothing to say within prompts: that erases nothing
    age = func.dense_rank().over(
        partition_by=same, order_by=[Correlation.lower.is_(None), Job.created_at.desc(), Job.id.desc()]
    )
    aged = (
        select(Correlation, age.label("age"))
        .join(Job, Job.id == Correlation.run)
        .where(Correlation.run.in_(runs), _measured(), _not_a_control(), _worst_may_be_here())
        .subquery()
    )
    weakness = func.row_number().over(
        partition_by=[aged.c.scorer, aged.c.scorer_version, aged.c.oracle],
        order_by=[aged.c.lower, aged.c.number],
    )
    ranked = select(aged, weakness.label("weakness")).where(aged.c.age == 1).subquery()
    row = aliased(Correlation, select(ranked).where(ranked.c.weakness == 1).subquery())
    rows = session.scalars(select(row).order_by(row.oracle, row.lower.is_(None), row.lower.desc(), row.scorer))
    return [CorrelationRecord.model_validate(each) for each in rows]


def named(scorer: str) -> ColumnElement[bool]:
    """Correlations of ``NAME``, whatever its version, or of ``NAME@3``."""
    name, _, version = scorer.rpartition("@")
    exact = Correlation.scorer == scorer
    if not name or not version.isdecimal() or len(version) > 9:
        return exact
    return or_(exact, and_(Correlation.scorer == name, Correlation.scorer_version == int(version)))


def _measured() -> ColumnElement[bool]:
    return and_(Correlation.statistic == WITHIN, Correlation.stratum == "all", Correlation.scorer != Correlation.oracle)


def _worst_may_be_here() -> ColumnElement[bool]:
    """All temperatures of a stress test together hide the worst of them; an audit may have recorded none."""
    return or_(Correlation.temperature.is_not(None), Job.kind != "stress_test")


def _not_a_control() -> ColumnElement[bool]:
    """As ``evaluation.scorers.controls.is_control`` has it."""
    untrained = or_(Correlation.scorer.like(f"%:{UNTRAINED}"), Correlation.scorer.like(f"%:{UNTRAINED}@%"))
    return and_(Correlation.scorer.not_in(list(CONTROLS)), ~untrained)

"""What a run has measured, without the numbers: which statistics, curves and rows there are."""

from dataclasses import dataclass, field

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from evaluation.statistics.averages import MEAN
from service.db.samples import is_stored
from service.db.tables import Comparison, Correlation, Curve, Response


@dataclass(frozen=True)
class Contents:
    """Of all responses of one run, whatever stratum else there is."""

    agreements: frozenset[tuple[str, str, bool]] = field(default_factory=frozenset)
    """Statistics of a scorer against an oracle: statistic, oracle, whether at temperatures."""

    averaged: frozenset[tuple[str, bool]] = field(default_factory=frozenset)
    """What a mean was taken of, and whether at temperatures."""

    oracles: tuple[str, ...] = ()
    """That scorers are compared with, in the run's order."""

    curves: frozenset[str] = field(default_factory=frozenset)
    comparisons: bool = False
    responses: bool = False

    @property
    def statistics(self) -> set[str]:
        return {statistic for statistic, _, _ in self.agreements}

    @property
    def is_graded(self) -> bool:
        """Whether anything was measured at temperatures."""
        return any(graded for _, _, graded in self.agreements)

    @property
    def described_names(self) -> set[str]:
        """What a mean over temperature was taken of."""
        return {name for name, graded in self.averaged if graded}

    def graded(self, statistic: str, oracle: str) -> bool:
        """Whether a statistic was measured at temperatures."""
        return (statistic, oracle, True) in self.agreements

    def flat(self, statistic: str, oracle: str) -> bool:
        """Whether a statistic was measured of all responses together."""
        return (statistic, oracle, False) in self.agreements

    def described(self, name: str) -> bool:
        """Whether the mean of a scorer, an oracle or a measure of texts was taken at temperatures."""
        return (name, True) in self.averaged

    def counted(self, name: str) -> bool:
        """Whether its mean was taken over all responses, which says how many it lacks."""
        return (name, False) in self.averaged


def contents_of(session: Session, run: str) -> Contents:
    """What there is of a run."""
    own, graded = Correlation.scorer == Correlation.oracle, Correlation.temperature.is_not(None)
    seen = select(Correlation.statistic, Correlation.oracle, own, graded)
    seen = seen.where(Correlation.run == run, Correlation.stratum == "all").distinct()
    rows = [(str(statistic), str(oracle), bool(its), bool(at)) for statistic, oracle, its, at in session.execute(seen)]
    oracles = select(Correlation.oracle).where(Correlation.run == run, ~own).group_by(Correlation.oracle)
    curves = select(Curve.curve).where(Curve.run == run).distinct()
    return Contents(
        agreements=frozenset((statistic, oracle, at) for statistic, oracle, its_own, at in rows if not its_own),
        averaged=frozenset((oracle, at) for statistic, oracle, its_own, at in rows if its_own and statistic == MEAN),
        oracles=tuple(session.scalars(oracles.order_by(func.min(Correlation.number)))),
        curves=frozenset(session.scalars(curves)),
        comparisons=bool(session.scalar(select(exists().where(Comparison.run_a == run, Comparison.run_b == run)))),
        responses=bool(session.scalar(select(exists().where(Response.run == run, is_stored(run))))),
    )

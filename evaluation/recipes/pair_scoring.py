"""Registered scorers for recipes that score pairs themselves, each of one version for the whole run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from evaluation.engine.pairs import Pair
from evaluation.judged_columns import ScorePairs
from evaluation.scorers.controls import family
from trainer.data.text import OnOverlong
from trainer.errors import AssayError
from trainer.pins import settle_versions
from trainer.recipe import Run


@dataclass(frozen=True)
class PairScoring:
    """Scorers that are open, under the names that the recipe has for them."""

    score: ScorePairs | None = None
    """How to score pairs; None where no registered scorer was asked for."""

    versions: Mapping[str, int] = field(default_factory=dict)
    """Which version each name means in this run, untrained twins by their family."""

    untrained: Sequence[str] = ()
    """Names of the untrained twins that stand beside the scorers."""


@contextmanager
def scoring_pairs(
    run: Run, registered: Sequence[str], on_overlong: OnOverlong, *, beside: Sequence[str] = ()
) -> Iterator[PairScoring]:
    """Open registered scorers, and the untrained twins of those that are named in ``beside``.

    Versions are settled when the run first starts: a version that is published meanwhile, or before the run is
    continued, changes nothing. Raises NotFound for a scorer that is not there, InvalidInput for an output it lacks.
    """
    if not registered:
        yield PairScoring()
        return
    from evaluation.engine.names import ScorerName
    from evaluation.engine.scoring import ScoringEngine, outcome  # loads torch, which recorded scores can do without

    pinned = settle_versions(registered, run.artifacts, run.directory)
    with ScoringEngine(run.artifacts) as engine:
        versions = {name: engine.describe(pinned[name]).version for name in registered}
        meant = {name: pinned[name] for name in registered}
        for name in beside:
            for control in engine.describe(pinned[name]).controls:
                twin = f"{ScorerName.parse(name).reference}:{control}"
                meant.setdefault(twin, f"{ScorerName.parse(pinned[name]).reference}:{control}")
                versions[family(twin)] = versions[name]

        def score(names: Sequence[str], pairs: Sequence[Pair]) -> dict[str, list[float | AssayError]]:
            waiting = engine.submit_each([meant[name] for name in names], pairs, on_overlong)
            outcomes = {name: [outcome(future) for future in waiting[meant[name]]] for name in names}
            return {
                name: [each if isinstance(each, AssayError) else each.score for each in found]
                for name, found in outcomes.items()
            }

        yield PairScoring(score, versions, [name for name in meant if name not in registered])

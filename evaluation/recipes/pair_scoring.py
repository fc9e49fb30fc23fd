"""Registered scorers for recipes that score pairs themselves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from evaluation.engine.pairs import Pair
from evaluation.judged_columns import ScorePairs
from trainer.artifacts import ArtifactStore
from trainer.data.text import OnOverlong
from trainer.errors import AssayError


@contextmanager
def scoring_pairs(
    store: ArtifactStore, registered: Sequence[str], on_overlong: OnOverlong
) -> Iterator[tuple[ScorePairs | None, dict[str, int]]]:
    """How to score pairs with registered scorers, and their versions. Raises NotFound for one that is not there."""
    if not registered:
        yield None, {}
        return
    from evaluation.engine.scoring import ScoringEngine, outcome  # loads torch, which recorded scores can do without

    with ScoringEngine(store) as engine:

        def score(names: Sequence[str], pairs: Sequence[Pair]) -> dict[str, list[float | AssayError]]:
            waiting = engine.submit_each(names, pairs, on_overlong)
            outcomes = {name: [outcome(future) for future in futures] for name, futures in waiting.items()}
            return {
                name: [each if isinstance(each, AssayError) else each.score for each in found]
                for name, found in outcomes.items()
            }

        yield score, {name: engine.describe(name).version for name in registered}

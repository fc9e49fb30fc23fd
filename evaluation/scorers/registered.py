"""Artifacts as scorers of stored responses, through the scoring engine."""

from collections.abc import Sequence

from evaluation.engine.names import ScorerName
from evaluation.engine.pairs import Pair, Scored
from evaluation.engine.scoring import ScoringEngine, outcome
from evaluation.scorers.scorer import Column, Judgement, Role, Scorer, StoredResponse, missing
from trainer.errors import AssayError


class RegisteredScorers(Scorer):
    """Any number of artifacts' outputs as columns; those on one backbone share its forward pass."""

    def __init__(self, engine: ScoringEngine, names: Sequence[tuple[str, Role]]) -> None:
        """Scorers with their roles. Raises InvalidInput or NotFound for a name that is no scorer."""
        self._engine = engine
        self._names = tuple(name for name, _ in names)
        self._columns = tuple(_column(engine, name, role) for name, role in names)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._columns

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        pairs = [Pair(each.prompt, each.response) for each in responses]
        waiting = self._engine.submit_each(self._names, pairs)
        series = [[_judgement(outcome(future)) for future in waiting[name]] for name in self._names]
        return list(zip(*series, strict=True))


def _column(engine: ScoringEngine, name: str, role: Role) -> Column:
    """The column of a scorer, named alike however the user wrote it; only a reward model is what it scores."""
    info = engine.describe(name)
    output = ScorerName.parse(name).output or info.outputs[0]
    return Column(info.name if info.kind == "reward_model" else f"{info.name}:{output}", info.version, role)


def _judgement(outcome: Scored | AssayError) -> Judgement:
    if isinstance(outcome, AssayError):
        return missing(outcome.code, outcome.detail)
    return Judgement(outcome.score, outcome.tokens, outcome.truncated_tokens)

"""What the compare page computes, kept in memory: two finished runs differ for good."""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.statistics.flips import picks, swaps
from evaluation.statistics.run_comparison import RunComparison, RunScores
from service.dashboard.drawn import Drawn
from service.dashboard.texts import prompt_text
from service.db.runs import get_run
from service.db.tables import Score
from service.jobs.kinds import EVALUATION_KINDS
from service.run_comparisons import compared_scores, read_scores
from trainer.errors import InvalidInput

MOST_SCORES = 500_000
"""Of scorers and oracles, in both runs."""

_FLIPPED = 12
"""Prompts shown."""

_CHARACTERS = 400
"""Of a prompt or a response."""


@dataclass(frozen=True)
class Asked:
    """Two runs, or one twice with two scorers; empty is not chosen."""

    a: str
    b: str
    scorer_a: str
    scorer_b: str

    @property
    def is_complete(self) -> bool:
        """Whether there is something to compare."""
        return bool(self.a and self.b and (self.a != self.b or (self.scorer_a and self.scorer_b)))

    def query(self) -> str:
        """As part of an address."""
        told = {"a": self.a, "b": self.b, "scorer_a": self.scorer_a, "scorer_b": self.scorer_b}
        return urlencode({name: value for name, value in told.items() if value})


class FlippedPrompt(BaseModel):
    """A prompt on which both sides part, with what the oracle makes of each."""

    prompt: str
    value_a: float
    value_b: float
    text_a: str | None = None
    """The response that the first scorer picks; None where means are compared."""
    text_b: str | None = None


class Flips(BaseModel):
    """Over all prompts that can be compared, by one oracle."""

    oracle: str
    n_prompts: int
    n_a: int
    """Where a is ahead."""
    n_b: int
    mean_a: float | None = None
    """Of the oracle, where runs are compared."""
    mean_b: float | None = None
    n_flipped: int
    shown: list[FlippedPrompt]
    """Those on which both sides are furthest apart."""


class Compared(BaseModel):
    """Differences over all temperatures and at each, and the prompts behind them."""

    rows: list[RunComparison]
    flips: list[Flips]
    by_picks: bool
    """Whether flips are of two scorers' picks, or of two runs' means."""


def compared(session: Session, kept: Drawn, asked: Asked) -> Compared:
    """Raises NotFound or InvalidInput where there is nothing to compare, or too much for a page."""
    runs = [get_run(session, each, EVALUATION_KINDS) for each in (asked.a, asked.b)]
    if not asked.is_complete:
        raise InvalidInput("a run compared with itself needs two scorers: choose one for either side")
    session.close()  # nobody who waits holds a connection
    key = ("compare", asked, *((run.finished_at, run.attempts) for run in runs))
    return Compared.model_validate_json(kept.get(key, lambda: _computed(session, asked).model_dump_json().encode()))


def _refuse_large(session: Session, asked: Asked) -> None:
    its = select(Score.number).where(Score.run.in_({asked.a, asked.b}), Score.role != "control")
    counted = select(func.count()).select_from(its.limit(MOST_SCORES + 1).subquery())
    if session.scalars(counted).one() > MOST_SCORES:
        raise InvalidInput(
            f"more than {MOST_SCORES:,} scores are too many for a page; type `assay compare {asked.a} {asked.b}`"
        )


def _computed(session: Session, asked: Asked) -> Compared:
    _refuse_large(session, asked)
    a = read_scores(session, asked.a)
    b = a if asked.a == asked.b else read_scores(session, asked.b)
    session.close()  # what follows takes seconds
    rows = compared_scores(
        (asked.a, a),
        (asked.b, b),
        scorer_a=asked.scorer_a or None,
        scorer_b=asked.scorer_b or None,
        settings=BootstrapSettings(),
    )
    oracles = list(dict.fromkeys(each.oracle for each in rows))
    by_picks = asked.a == asked.b
    flips = [_picked(a, asked, oracle) if by_picks else _swapped(a, b, oracle) for oracle in oracles]
    return Compared(rows=rows, flips=[each for each in flips if each is not None], by_picks=by_picks)


def _picked(run: RunScores, asked: Asked, oracle: str) -> Flips:
    found = picks(run, asked.scorer_a, asked.scorer_b, oracle)
    shown = [
        FlippedPrompt(
            prompt=_prompt(each.prompt),
            value_a=each.value_a,
            value_b=each.value_b,
            text_a=_short(run.responses[each.row_a]),
            text_b=_short(run.responses[each.row_b]),
        )
        for each in found.flipped[:_FLIPPED]
    ]
    return Flips(
        oracle=oracle,
        n_prompts=found.n_prompts,
        n_a=found.n_a,
        n_b=found.n_b,
        n_flipped=len(found.flipped),
        shown=shown,
    )


def _swapped(a: RunScores, b: RunScores, oracle: str) -> Flips | None:
    """None where the runs share no prompt."""
    found = swaps(a, b, oracle)
    if found is None:
        return None
    shown = [
        FlippedPrompt(prompt=_prompt(each.prompt), value_a=each.mean_a, value_b=each.mean_b)
        for each in found.flipped[:_FLIPPED]
    ]
    return Flips(
        oracle=oracle,
        n_prompts=found.n_prompts,
        n_a=found.n_a,
        n_b=found.n_b,
        mean_a=found.mean_a,
        mean_b=found.mean_b,
        n_flipped=len(found.flipped),
        shown=shown,
    )


def _prompt(text: str) -> str:
    return _short(prompt_text(json.loads(text)))


def _short(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + "…"

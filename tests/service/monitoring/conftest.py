"""Answers to be sampled, and samplers that are stopped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session, sessionmaker

from service.monitoring.sampling import Sampler
from service.score_schema import AnsweringScorer, NoScore, Reason, Score, ScoreAnswer, ScoredItem, ScoreItem
from service.settings import Settings

Answered = tuple[list[ScoreItem], ScoreAnswer]


@pytest.fixture
def answered() -> Callable[..., Answered]:
    """``answered([(prompt, {response: score}), ...])``: what was asked of ``rm@3`` and answered; None is no score."""

    def make(pairs: list[tuple[Any, dict[str, float | None]]], *, truncated: int = 0) -> Answered:
        def cell(score: float | None) -> Score | NoScore:
            if score is None:
                return NoScore(error=Reason(code="overlong", detail="too long"))
            return Score(score=score, probability=None, tokens=9, truncated_tokens=truncated)

        scorer = AnsweringScorer(
            **{"scorer": "rm", "name": "rm", "version": 3, "output": "score", "kind": "reward_model"},
            **{"orientation": "higher_is_better", "template_hash": "0", "calibration": None, "pointwise": False},
            **{"contrasts": [], "prefer": None},
        )
        items = [ScoreItem.model_validate({"prompt": prompt, "responses": list(scores)}) for prompt, scores in pairs]
        found = [ScoredItem(id=None, scores=[{"rm": cell(score)} for score in scores.values()]) for _, scores in pairs]
        return items, ScoreAnswer(scorers=[scorer], items=found)

    return make


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def start_sampler(
    settings: Settings, make_session: sessionmaker[Session], registry: CollectorRegistry
) -> Iterator[Callable[..., Sampler]]:
    """``start_sampler(monitor_share=1)``: one over the test's database."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Sampler:
            sampler = Sampler(settings.model_copy(update=changes), make_session, registry)
            stack.callback(sampler.stop)
            return sampler

        yield start

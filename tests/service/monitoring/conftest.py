"""Answers to be sampled, and samplers that are stopped."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session, sessionmaker

from service.db.ids import new_id
from service.db.session import writing
from service.db.tables import ServedScore
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


@pytest.fixture
def keep(make_session: sessionmaker[Session]) -> Callable[..., None]:
    """``keep(1000, at=time, score=..., texts=True)``: rows in the sample, a prompt each, a second apart from ``at``."""

    def store(
        count: int,
        *,
        at: datetime,
        score: Callable[[int], float] = float,
        characters: int = 10,
        truncated: int = 0,
        scorer: str = "rm@3:score",
        texts: bool = False,
        first: int = 0,
    ) -> None:
        with writing(make_session) as session:
            for number in range(first, first + count):
                text = {"prompt": f"prompt {number}", "response": f"response {number}"} if texts else {}
                session.add(
                    ServedScore(
                        **{
                            "id": new_id("srv"),
                            "time": at + timedelta(seconds=number - first),
                            "scorer": scorer,
                            **text,
                        },
                        **{"prompt_digest": f"p{number}", "response_digest": f"r{number}"},
                        **{"response_characters": characters, "score": score(number)},
                        **{"tokens": 5, "truncated_tokens": truncated},
                    )
                )

    return store


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits until something holds, a minute at most."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait

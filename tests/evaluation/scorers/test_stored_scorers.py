"""Registered scorers and trivial controls fill their columns for stored responses."""

import math

import pytest

from evaluation.engine.scoring import Pair, ScoringEngine
from evaluation.scorers.registered import RegisteredScorers
from evaluation.scorers.scorer import Column, Judgement, StoredResponse
from evaluation.scorers.trivial import TrivialScorers
from trainer.artifacts import ArtifactStore
from trainer.errors import NotFound
from trainer.generation.sampled import Cell


def stored(prompt: str, response: str) -> StoredResponse:
    cell = Cell("p", 1.0, 0)
    return StoredResponse(cell, prompt, response, tokens=5, finish_reason="length", mean_logprob=-1.5)


def test_outputs_are_named_alike_however_they_were_asked_for(store: ArtifactStore, pairs: list[Pair]) -> None:
    with ScoringEngine(store) as engine:
        names = ["rm", "policy@1", "policy", "policy/discriminator", "policy/discriminator@1:difference"]
        scorers = RegisteredScorers(engine, [(name, "scorer") for name in names])
        (judged,) = scorers.judge([stored(str(pairs[0].prompt), pairs[0].response)])
        expected = [engine.score(name, pairs[:1])[0] for name in names]

    assert scorers.columns == (
        Column("rm", 1, "scorer"),
        Column("policy:mean_logprob", 1, "scorer"),
        Column("policy:implicit_reward", 2, "scorer"),
        Column("policy/discriminator:chosen", 1, "scorer"),
        Column("policy/discriminator:difference", 1, "scorer"),
    )
    assert [each.score for each in judged] == [pytest.approx(getattr(e, "score", None), abs=1e-4) for e in expected]
    assert all(each.tokens and each.truncated_tokens == 0 for each in judged)


def test_an_unknown_scorer_is_refused_beforehand(store: ArtifactStore) -> None:
    with ScoringEngine(store) as engine, pytest.raises(NotFound, match="no artifact nobody"):
        RegisteredScorers(engine, [("nobody", "scorer")])


def test_controls_read_the_response_and_what_was_recorded_with_it() -> None:
    scorers = TrivialScorers()
    (judged, empty) = scorers.judge([stored("a", "abc"), stored("a", "")])
    found = {column.scorer: judgement for column, judgement in zip(scorers.columns, judged, strict=True)}

    assert found["length"] == Judgement(math.log(4))
    assert found["mean_logprob"] == Judgement(-1.5)
    assert found["truncated"] == Judgement(1.0)
    assert {column.role for column in scorers.columns} == {"control"}
    ratio = empty[[column.scorer for column in scorers.columns].index("zlib_ratio")]
    assert (ratio.score, ratio.error) == (
        None,
        {"code": "undefined", "detail": "zlib_ratio is undefined for this response"},
    )

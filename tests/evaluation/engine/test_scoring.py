"""The engine gives each pair the score it has on its own, whoever else is asking."""

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.engine import scoring
from evaluation.engine.residency import LoadedModel
from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from evaluation.engine.terms import OFFLINE
from trainer.artifacts import ArtifactStore
from trainer.data.text import Encoded, OnOverlong
from trainer.errors import AssayError, InvalidInput, NotFound, Overloaded, OverlongInput
from trainer.models.loading import load_pair_model

SCORERS = ["rm", "policy", "policy:mean_logprob", "policy/discriminator", "policy/discriminator:difference"]


@pytest.fixture(scope="module")
def engine(store: ArtifactStore) -> Iterator[ScoringEngine]:
    with ScoringEngine(store, torch.device("cpu"), token_budget=256) as engine:
        yield engine


@pytest.fixture(scope="module")
def alone(store: ArtifactStore, pairs: list[Pair]) -> dict[str, list[float]]:
    """Every pair's score by every scorer, computed one pair at a time without the engine."""
    found: dict[str, list[float]] = {}
    for scorer in SCORERS:
        reference, _, output = scorer.partition(":")
        model = load_pair_model(store.open(reference), store, torch.device("cpu"))
        column = model.outputs.index(output) if output else 0
        found[scorer] = [float(model.score([model.encode(p.prompt, p.response)])[0, column]) for p in pairs]
        assert max(found[scorer]) - min(found[scorer]) > 1e-2
    return found


def score_of(outcome: Scored | AssayError) -> float:
    assert isinstance(outcome, Scored), outcome
    return outcome.score


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, 11), min_size=1, max_size=40), scorer=st.sampled_from(SCORERS))
def test_a_score_depends_on_the_pair_alone(
    engine: ScoringEngine, alone: dict[str, list[float]], pairs: list[Pair], order: list[int], scorer: str
) -> None:
    scores = [score_of(outcome) for outcome in engine.score(scorer, [pairs[i] for i in order])]

    assert scores == pytest.approx([alone[scorer][i] for i in order], abs=1e-4)


def test_callers_at_the_same_time_get_their_own_scores(
    engine: ScoringEngine, alone: dict[str, list[float]], pairs: list[Pair]
) -> None:
    found: dict[int, list[float]] = {}

    def ask(caller: int) -> None:
        scorer = SCORERS[caller % len(SCORERS)]
        order = [(caller + i) % len(pairs) for i in range(6)]
        found[caller] = [score_of(outcome) for outcome in engine.score(scorer, [pairs[i] for i in order])]

    callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(found) == 20
    for number, scores in found.items():
        expected = [alone[SCORERS[number % len(SCORERS)]][(number + i) % len(pairs)] for i in range(6)]
        assert scores == pytest.approx(expected, abs=1e-4)


def test_outputs_asked_together_agree_with_outputs_asked_alone(
    engine: ScoringEngine, alone: dict[str, list[float]], pairs: list[Pair]
) -> None:
    together = engine.submit_each(SCORERS, pairs)

    assert list(together) == SCORERS
    for scorer in SCORERS:
        assert [future.result().score for future in together[scorer]] == pytest.approx(alone[scorer], abs=1e-4)


def test_bad_pairs_give_their_errors_in_place(engine: ScoringEngine, pairs: list[Pair]) -> None:
    good, empty, no_prompt = pairs[0], Pair("product lamp", "  "), Pair("", "It is blue .")
    overlong = Pair(pairs[0].prompt, "red " * 200)

    outcomes = engine.score("rm", [empty, good, overlong, no_prompt])

    assert [type(outcome) for outcome in outcomes] == [InvalidInput, Scored, OverlongInput, InvalidInput]


def test_a_prompt_is_shortened_only_if_asked_and_it_is_said(engine: ScoringEngine) -> None:
    long = Pair("product lamp | " + "red " * 100, "It is blue .")

    (refused,) = engine.score("rm", [long])
    (shortened,) = engine.score("rm", [long], "truncate_prompt")

    assert isinstance(refused, OverlongInput)
    assert isinstance(shortened, Scored)
    # <cls> product lamp | red*100 <sep> It is blue . <sep> are 110 tokens; 96 fit
    assert (shortened.tokens, shortened.truncated_tokens) == (96, 14)


def test_scorers_are_described_without_being_loaded(store: ArtifactStore) -> None:
    with ScoringEngine(store) as engine:
        infos = {(info.name, info.version): info for info in engine.list()}

    assert sorted(infos) == [("policy", 1), ("policy", 2), ("policy/discriminator", 1), ("rm", 1)]
    assert infos["policy", 1].outputs == ("mean_logprob", "sum_logprob")
    assert infos["policy", 2].outputs == (
        "implicit_reward",
        "mean_logprob",
        "sum_logprob",
        "reference_mean_logprob",
        "reference_sum_logprob",
    )
    assert infos["policy/discriminator", 1].outputs == ("chosen", "rejected", "difference")
    assert [parent.name for parent in infos["policy/discriminator", 1].parents] == ["policy"]
    assert infos["rm", 1].calibration == {"temperature": 2.0}
    assert infos["rm", 1].max_tokens == 96
    assert not any(info.loaded for info in infos.values())


def test_what_a_manifest_promises_is_what_loads(engine: ScoringEngine, store: ArtifactStore) -> None:
    for info in engine.list():
        model = load_pair_model(store.open(info.reference), store, torch.device("cpu"))
        assert (model.outputs, model.max_tokens, model.template_hash) == (
            info.outputs,
            info.max_tokens,
            info.template_hash,
        )


def test_the_highest_version_is_meant_unless_one_is_named_or_an_alias_decides(
    store: ArtifactStore, pairs: list[Pair]
) -> None:
    with ScoringEngine(store, resolve_alias={"champion": "policy@1"}.get) as engine:
        assert engine.describe("policy").version == 2
        assert engine.describe("policy@1").version == 1
        champion = engine.describe("champion:mean_logprob")
        assert (champion.name, champion.version, champion.alias) == ("policy", 1, "champion")
        assert engine.score("champion", pairs[:1]) == engine.score("policy@1", pairs[:1])


def test_a_model_is_loaded_when_asked_for_and_unloaded_on_request(store: ArtifactStore, pairs: list[Pair]) -> None:
    with ScoringEngine(store) as engine:
        engine.score("rm", pairs[:1])
        assert engine.describe("rm").loaded
        engine.unload("rm")
        assert not engine.describe("rm").loaded
        with pytest.raises(NotFound, match="rm@1 is not loaded"):
            engine.unload("rm")
        assert engine.load("rm").loaded


def test_the_longest_unused_model_leaves_when_memory_is_short_but_a_pinned_one_stays(
    store: ArtifactStore, pairs: list[Pair]
) -> None:
    with ScoringEngine(store, max_bytes=1) as engine:
        engine.load("policy@1")
        engine.score("rm", pairs[:1])
        engine.score("policy@2", pairs[:1])

        loaded = {info.reference for info in engine.list() if info.loaded}
    assert loaded == {"policy@1", "policy@2"}


@pytest.mark.parametrize(
    ("scorer", "error", "words"),
    [
        ("nobody", NotFound, "no artifact nobody"),
        ("rm@9", NotFound, "no artifact rm@9"),
        ("../etc", InvalidInput, "a name is letters"),
        ("rm:difference", InvalidInput, "it gives score"),
        ("rm:", InvalidInput, "write NAME"),
        ("", InvalidInput, "write NAME"),
    ],
)
def test_a_scorer_that_does_not_exist_is_one_clear_error(
    engine: ScoringEngine, pairs: list[Pair], scorer: str, error: type[AssayError], words: str
) -> None:
    with pytest.raises(error, match=words):
        engine.score(scorer, pairs)
    with pytest.raises(error, match=words):
        engine.describe(scorer)


def test_an_engine_that_was_closed_refuses(store: ArtifactStore, pairs: list[Pair]) -> None:
    engine = ScoringEngine(store)
    engine.score("rm", pairs[:1])
    engine.close()

    with pytest.raises(Overloaded):
        engine.score("rm", pairs[:1])


def test_nothing_more_is_tokenised_for_a_request_that_was_given_up(
    engine: ScoringEngine, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = engine.reserve(["rm"], len(pairs), OFFLINE)
    tokenised: list[Pair] = []

    def leave_at_the_third(loaded: LoadedModel, pair: Pair, on_overlong: OnOverlong) -> Encoded | AssayError:
        tokenised.append(pair)
        if len(tokenised) == 3:
            place.leave()
        return whole(loaded, pair, on_overlong)

    whole = scoring._tokenise
    monkeypatch.setattr(scoring, "_tokenise", leave_at_the_third)

    with pytest.raises(Overloaded, match="given up"):
        engine.submit_opened([engine.open("rm")], pairs, "error", OFFLINE, place)
    assert tokenised == pairs[:3]
    assert engine.waiting.pairs == 0

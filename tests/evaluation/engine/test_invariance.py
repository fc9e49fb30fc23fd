"""A score is its pair's alone: whatever the batch, the order, the padding side and who shares its prompt."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.engine.meter import Counts
from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from evaluation.quantising import Compared, quantise
from tests.conftest import publish_decoder
from trainer.artifacts import ArtifactStore, Contents
from trainer.errors import AssayError
from trainer.models.loading import load_pair_model
from trainer.models.starting_point import BackboneOrigin, Scratch

SCORERS = ["rm", "deep-int8", "decoder", "policy:implicit_reward", "policy/discriminator:difference"]
LONG = "product mug | " + "color red ; size tiny ; " * 10
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def various(store: ArtifactStore, pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """The store with two reward models besides: a decoder, whose window is long enough for prompts worth sharing, and
    an encoder in 8 bits, deep enough for batches of other shapes to move its scores if it were read in batches."""
    copy = ArtifactStore(tmp_path_factory.mktemp("various") / "artifacts")
    shutil.copytree(store.root, copy.root)
    publish_decoder(copy, "decoder")
    deep, _ = BackboneOrigin(scratch=Scratch(hidden_size=64, layers=8, heads=2, max_tokens=96)).open(copy, seed=0)
    with torch.no_grad():
        for parameter in (each for each in deep.model.parameters() if each.dim() > 1):
            parameter.normal_(std=0.2)
    deep.model.eval()
    copy.publish("deep", Contents("reward_model", {}, "", {}, deep.details(), [], []), deep.save)
    quantise(copy, "deep", "deep-int8", compared=Compared(pairs, "pairs"), largest_mean_error=1.0)
    return copy


@dataclass(frozen=True)
class Measured:
    """Pairs, and the score of each by each scorer, computed one pair at a time without the engine."""

    pairs: list[Pair]
    alone: dict[str, list[float | str]]


@pytest.fixture(scope="module")
def measured(various: ArtifactStore, pairs: list[Pair]) -> Measured:
    siblings = [Pair(prompt, pair.response) for prompt in (LONG, pairs[0].prompt) for pair in pairs[:6]]
    everything = [*pairs, *siblings]
    alone: dict[str, list[float | str]] = {}
    for scorer in SCORERS:
        reference, _, output = scorer.partition(":")
        model = load_pair_model(various.open(reference), various, CPU)
        column = model.outputs.index(output) if output else 0
        alone[scorer] = []
        for pair in everything:
            try:
                alone[scorer].append(float(model.score([model.encode(pair.prompt, pair.response)])[0, column]))
            except AssayError as error:
                alone[scorer].append(error.code)
        numbers = [each for each in alone[scorer] if isinstance(each, float)]
        assert len(numbers) >= 18
        assert max(numbers) - min(numbers) > 1e-2
    return Measured(everything, alone)


@pytest.fixture(scope="module")
def engines(various: ArtifactStore) -> Iterator[dict[str, ScoringEngine]]:
    found = {
        "small batches": ScoringEngine(various, CPU, token_budget=100),
        "large batches": ScoringEngine(various, CPU, token_budget=100_000),
        "deterministic": ScoringEngine(various, CPU, token_budget=1000, deterministic=True),
    }
    yield found
    for engine in found.values():
        engine.close()


def outcomes(engine: ScoringEngine, scorers: list[str], pairs: list[Pair]) -> dict[str, list[float | str]]:
    found: dict[str, list[float | str]] = {}
    for scorer, futures in engine.submit_each(scorers, pairs).items():
        found[scorer] = []
        for future in futures:
            try:
                found[scorer].append(future.result(60).score)
            except AssayError as error:
                found[scorer].append(error.code)
    return found


@settings(max_examples=40, deadline=None)
@given(
    order=st.lists(st.integers(0, 23), min_size=1, max_size=40),
    scorers=st.lists(st.sampled_from(SCORERS), min_size=1, unique=True),
    which=st.sampled_from(["small batches", "large batches", "deterministic"]),
    side=st.sampled_from(["left", "right"]),
)
def test_a_score_is_the_same_in_any_batch_order_padding_and_grouping(
    engines: dict[str, ScoringEngine], measured: Measured, order: list[int], scorers: list[str], which: str, side: str
) -> None:
    engine = engines[which]
    for scorer in scorers:
        engine.load(scorer.partition(":")[0])
    for loaded in engine._models._models.values():  # as a tokenizer's files may say
        loaded.model.tokenizer.padding_side = side

    found = outcomes(engine, scorers, [measured.pairs[i] for i in order])

    for scorer in scorers:
        for outcome, i in zip(found[scorer], order, strict=True):
            expected = measured.alone[scorer][i]
            assert outcome == (expected if isinstance(expected, str) else pytest.approx(expected, abs=1e-4))


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(24)), size=st.integers(1, 24), scorers=st.lists(st.sampled_from(SCORERS), min_size=1)
)
def test_deterministic_scores_are_the_same_bits(
    engines: dict[str, ScoringEngine], measured: Measured, order: list[int], size: int, scorers: list[str]
) -> None:
    wanted = list(dict.fromkeys(scorers))
    found = outcomes(engines["deterministic"], wanted, [measured.pairs[i] for i in order[:size]])

    assert found == {scorer: [measured.alone[scorer][i] for i in order[:size]] for scorer in wanted}


def test_a_reward_models_pairs_are_read_without_padding_and_a_policys_with(
    various: ArtifactStore, measured: Measured
) -> None:
    for scorer, pads in (("rm", False), ("decoder", False), ("policy:implicit_reward", True)):
        meter = Counts()
        with ScoringEngine(various, CPU, token_budget=1000, meter=meter) as engine:
            engine.score(scorer, measured.pairs[:12])
        assert meter.rows > meter.batches
        assert (meter.padding > 0) == pads


def test_siblings_are_read_behind_one_prompt_also_when_each_comes_by_itself(
    various: ArtifactStore, measured: Measured
) -> None:
    meter = Counts()
    siblings = measured.pairs[12:18]
    with ScoringEngine(various, CPU, meter=meter) as engine:
        engine.load("decoder")
        together = engine.score("decoder", siblings)
        assert meter.prefix_hits == 5
        busy, go = threading.Event(), threading.Event()
        owner = threading.Thread(target=engine._owner.call, args=(lambda: busy.set() or go.wait(60),))
        owner.start()
        assert busy.wait(60)
        waiting = [engine.submit("decoder", [pair])[0] for pair in siblings]
        go.set()
        apart = [future.result(60) for future in waiting]
        owner.join()

    assert all(isinstance(each, Scored) for each in together)
    assert [each.score for each in together if isinstance(each, Scored)] == pytest.approx(
        [each.score for each in apart], abs=1e-4
    )
    assert meter.prefix_hits == 10


def test_truncated_prompts_are_shared_only_where_the_same_was_left_of_them(
    various: ArtifactStore, pairs: list[Pair]
) -> None:
    meter = Counts()
    overlong = "product mug | " + "color red ; size tiny ; " * 40
    waiting = [
        Pair(overlong, "It is blue ."),
        Pair(overlong, "It is tiny ."),
        Pair(overlong, "It is blue . It is red ."),
    ]
    with ScoringEngine(various, CPU, meter=meter) as engine:
        found = engine.score("decoder", waiting, "truncate_prompt")
        alone = [engine.score("decoder", [pair], "truncate_prompt")[0] for pair in waiting]

    assert [each.tokens for each in found if isinstance(each, Scored)] == [160, 160, 160]
    assert meter.prefix_hits == 1  # the first two responses are as long as each other
    for one, other in zip(found, alone, strict=True):
        assert isinstance(one, Scored)
        assert isinstance(other, Scored)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.truncated_tokens == other.truncated_tokens > 0
    assert meter.truncated_pairs == {"decoder@1:score": 6}

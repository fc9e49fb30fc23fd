"""Scorers that stand on one backbone have it read each batch once, and hold it in memory once."""

import shutil
from collections import Counter

import pytest
import torch
from torch import Tensor

from evaluation.engine.scoring import Pair, ScoringEngine
from trainer.artifacts import ArtifactStore, Contents
from trainer.errors import InvalidInput
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.discriminators import TransformerDiscriminator
from trainer.models.latents import select_latents
from trainer.models.loading import Policies, load_pair_model, read_pair_model
from trainer.models.policy import Policy, PolicyNetwork, collate

ALL = [
    "policy@1:mean_logprob",
    "policy@1:sum_logprob",
    "policy@2:implicit_reward",
    "policy@2:reference_sum_logprob",
    "played/discriminator:chosen",
    "played/discriminator:policy_difference",
    "played/discriminator:untrained_3",
    "policy/discriminator:rejected",
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def played(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """The store with one more artifact: the same discriminators, telling that they were trained against policy@2."""
    copy = ArtifactStore(tmp_path_factory.mktemp("played") / "artifacts")
    shutil.copytree(store.root, copy.root)
    source = copy.open("policy/discriminator")
    manifest = source.manifest
    fields = {name: getattr(manifest, name) for name in Contents.__dataclass_fields__}
    parents = [*manifest.parents, copy.open("policy@2").as_parent("policy")]
    copy.publish(
        "played/discriminator",
        Contents(**{**fields, "parents": parents}),
        lambda path: [shutil.copy(source.path / name, path) for name in manifest.files] and None,
    )
    return copy


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How many rows every policy's backbone has read, by policy, counted where all passes go through."""
    counts: Counter[int] = Counter()
    read = PolicyNetwork.hidden_states

    def counting(self: PolicyNetwork, batch: object) -> Tensor:
        counts[id(self)] += len(batch.input_ids)  # type: ignore[attr-defined]
        return read(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(PolicyNetwork, "hidden_states", counting)
    return counts


def test_eight_scores_on_two_backbones_take_two_passes(
    played: ArtifactStore, pairs: list[Pair], passes: Counter[int]
) -> None:
    with ScoringEngine(played, CPU, token_budget=10_000) as engine:
        for name in ALL:
            engine.load(name)
        passes.clear()
        together = engine.submit_each(ALL, pairs)
        found = {name: [future.result().score for future in futures] for name, futures in together.items()}

        assert sorted(passes.values()) == [12, 12]  # each of twelve pairs, once by policy@1 and once by policy@2
        for name in ALL:
            alone = [engine.score(name, [pair])[0].score for pair in pairs]  # type: ignore[union-attr]
            assert found[name] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "passes_made"),
    [
        ("policy@2:mean_logprob", 1),
        ("policy@2:reference_mean_logprob", 1),
        ("policy@2:implicit_reward", 2),
        ("played/discriminator:chosen", 1),
        ("played/discriminator:policy_chosen", 1),
    ],
)
def test_no_pass_is_made_that_nobody_asked_for(
    played: ArtifactStore, pairs: list[Pair], passes: Counter[int], name: str, passes_made: int
) -> None:
    with ScoringEngine(played, CPU, token_budget=10_000) as engine:
        engine.load(name)
        passes.clear()
        engine.score(name, pairs)

    assert list(passes.values()) == [12] * passes_made


def test_a_policy_is_in_memory_once_whoever_reads_with_it(played: ArtifactStore) -> None:
    policies = Policies(played)
    first, second, discriminator = (
        read_pair_model(played.open(name), policies, CPU) for name in ("policy@1", "policy@2", "policy/discriminator")
    )

    assert first.networks_held()[0] is second.networks_held()[1] is discriminator.networks_held()[1]
    assert first.tokenizer is discriminator.tokenizer


def test_the_outputs_on_the_policys_features_are_the_same_networks_of_its_own_states(
    played: ArtifactStore, pairs: list[Pair]
) -> None:
    model = load_pair_model(played.open("played/discriminator"), played, CPU)
    assert isinstance(model, DiscriminatorPair)
    assert model.outputs == (
        "chosen",
        "rejected",
        "difference",
        "policy_chosen",
        "policy_rejected",
        "policy_difference",
    )
    policy = Policy.load(played.open("policy@2").path)
    rows = [model.encode(pair.prompt, pair.response) for pair in pairs]
    batch = collate(rows, policy.pad_id)
    with torch.no_grad():
        latents = select_latents(policy.hidden_states(batch), batch, "response")
        expected = model.networks["rejected"](latents.hidden_states, latents.mask)

    scores = model.score(rows)

    assert torch.allclose(scores[:, 4], -expected, atol=1e-5)
    assert (scores[:, 1] - scores[:, 4]).abs().max() > 1e-3  # the two policies differ


def test_an_untrained_control_is_the_architecture_with_the_weights_of_its_seed(
    store: ArtifactStore, pairs: list[Pair]
) -> None:
    model = load_pair_model(store.open("policy/discriminator"), store, CPU)
    rows = [model.encode(pair.prompt, pair.response) for pair in pairs]
    policy = Policy.load(store.open("policy@1").path)
    torch.manual_seed(3)
    network = TransformerDiscriminator(width=16, layers=1, heads=2).build(16)
    batch = collate(rows, policy.pad_id)
    with torch.no_grad():
        latents = select_latents(policy.hidden_states(batch), batch, "response")
        expected = network(latents.hidden_states, latents.mask)
    torch.manual_seed(7)
    before = torch.get_rng_state()

    found = model.score(rows, ["untrained_3", "untrained_4"])

    assert torch.allclose(found[:, 0], expected, atol=1e-5)
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3
    assert torch.equal(torch.get_rng_state(), before)


def test_controls_are_scored_by_name_and_told_by_no_list(store: ArtifactStore, pairs: list[Pair]) -> None:
    with ScoringEngine(store, CPU) as engine:
        assert engine.describe("policy/discriminator").outputs == ("chosen", "rejected", "difference")
        assert engine.score("policy/discriminator:untrained_9", pairs[:1])[0].probability is None  # type: ignore[union-attr]
        with pytest.raises(InvalidInput, match="it gives chosen, rejected, difference"):
            engine.score("policy/discriminator:untrained_10", pairs[:1])
        with pytest.raises(InvalidInput, match="it gives score"):
            engine.score("rm:untrained_0", pairs[:1])

"""One optimiser step of every objective: the same however it is divided, and comparing with nothing it need not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from trainer.adversarial.construction import build_regulariser
from trainer.adversarial.settings import Adversarial
from trainer.artifacts import ArtifactStore
from trainer.data.sources import ProductWorldData
from trainer.data.text import Encoded
from trainer.models.discriminators import MSE, MLPDiscriminator
from trainer.models.latents import MaskChoice
from trainer.models.policy import PairBatch, Policy
from trainer.models.reference import FrozenCopy, Reference, ReferenceView
from trainer.models.starting_point import PolicyOrigin, Scratch
from trainer.objectives import DPO, IPO, KTO, ORPO, PreferenceObjective, SimPO
from trainer.recipe import Run
from trainer.recipes.encoding import EncodedPreference, encode_preferences
from trainer.recipes.preference_learner import PreferenceLearner

DATA = ProductWorldData(kind="product_world", size=6)
OBJECTIVES = [DPO(), SimPO(), IPO(), KTO(), ORPO()]


def scratch(seed: int, directory: Path) -> Policy:
    shape = Scratch(hidden_size=32, layers=2, heads=2)
    return PolicyOrigin(scratch=shape).open(ArtifactStore(directory / "artifacts"), seed)[0]


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return scratch(0, tmp_path)


@pytest.fixture
def reference(tmp_path: Path) -> FrozenCopy:
    return FrozenCopy(scratch(1, tmp_path))


@pytest.fixture
def rows(policy: Policy, run: Run) -> list[EncodedPreference]:
    return encode_preferences(policy, DATA.preferences(), DATA, run, mismatched=True)


def one_sided(rows: Sequence[EncodedPreference]) -> list[EncodedPreference]:
    """Two good responses, then four bad ones."""
    return [
        EncodedPreference(
            row.chosen if position < 2 else None,
            None if position < 2 else row.rejected,
            row.kind,
            mismatched=row.mismatched,
        )
        for position, row in enumerate(rows)
    ]


def step(learner: PreferenceLearner, rows: Sequence[EncodedPreference], micro: int) -> dict[str, float]:
    """One step's metrics as the loop adds them up; its gradients stay at the policy."""
    learner.policy.model.zero_grad()
    parts = [rows[start : start + micro] for start in range(0, len(rows), micro)]
    whole = sum(learner.weight(row) for row in rows)
    shares = [sum(learner.weight(row) for row in part) / whole for part in parts]
    learner.begin(list(zip(parts, shares, strict=True)))
    metrics: dict[str, float] = {}
    for position, (part, share) in enumerate(zip(parts, shares, strict=True), start=1):
        for name, value in learner.backward(part, share, last=position == len(parts)).items():
            metrics[name] = metrics.get(name, 0.0) + share * float(value)
    return metrics


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    return {
        name: parameter.grad.clone()
        for name, parameter in policy.model.named_parameters()
        if parameter.grad is not None
    }


def assert_same(policy: Policy, learner: PreferenceLearner, rows: Sequence[EncodedPreference]) -> None:
    metrics = step(learner, rows, len(rows))
    expected = gradients(policy)
    assert len(expected) > 10
    for micro in (1, 4):  # 4 leaves a smaller rest
        assert step(learner, rows, micro) == pytest.approx(metrics, abs=1e-5, rel=1e-5)
        for name, gradient in gradients(policy).items():
            torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.kind)
def test_a_step_is_the_same_in_micro_batches(
    objective: PreferenceObjective, policy: Policy, reference: FrozenCopy, rows: list[EncodedPreference]
) -> None:
    assert_same(policy, PreferenceLearner(policy, reference, objective, None), rows)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.kind)
def test_a_step_is_the_same_with_each_prompt_read_once(
    objective: PreferenceObjective, policy: Policy, reference: FrozenCopy, rows: list[EncodedPreference]
) -> None:
    def regularised(share: bool) -> PreferenceLearner:
        regulariser = build_regulariser(Adversarial(discriminator=MLPDiscriminator(width=8)), 32, seed=0)
        return PreferenceLearner(policy, reference, objective, regulariser, share_prompts=share)

    read: list[int] = []
    policy.model.get_decoder().register_forward_pre_hook(
        lambda _, __, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    metrics = step(regularised(False), rows, len(rows))
    twice, expected = sum(read), gradients(policy)
    read.clear()
    assert step(regularised(True), rows, len(rows)) == pytest.approx(metrics, abs=1e-4, rel=1e-4)
    for name, gradient in gradients(policy).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-3, msg=name)
    assert sum(read) < twice


def test_a_step_on_unpaired_rows_is_the_same_in_micro_batches_that_lack_a_side(
    policy: Policy, reference: FrozenCopy, rows: list[EncodedPreference]
) -> None:
    rows = [*one_sided(rows)[:4], *rows[4:]]  # two good, two bad, two pairs
    learner = PreferenceLearner(policy, reference, KTO(), None)
    assert_same(policy, learner, rows)
    metrics = step(learner, rows, 6)
    assert metrics["kl"] > 0
    assert metrics["rewards/margins"] == pytest.approx(metrics["rewards/chosen"] - metrics["rewards/rejected"])
    assert "rewards/accuracies" not in metrics


def test_a_step_of_bad_responses_alone_says_nothing_of_good_ones(
    policy: Policy, reference: FrozenCopy, rows: list[EncodedPreference]
) -> None:
    learner = PreferenceLearner(policy, reference, KTO(), None)
    metrics = step(learner, one_sided(rows)[2:], 2)
    assert metrics.keys() == {"loss", "rewards/rejected", "logps/rejected", "kl"}
    assert all(torch.isfinite(gradient).all() for gradient in gradients(policy).values())


@pytest.mark.parametrize("discriminator", [MSE(), MLPDiscriminator(width=8)], ids=lambda each: each.kind)
def test_unpaired_rows_can_be_regularised(
    discriminator: MSE | MLPDiscriminator, policy: Policy, reference: FrozenCopy, rows: list[EncodedPreference]
) -> None:
    regulariser = build_regulariser(Adversarial(discriminator=discriminator), 32, seed=0)
    learner = PreferenceLearner(policy, reference, KTO(), regulariser)
    metrics = step(learner, one_sided(rows), 1)
    assert metrics["adversarial_loss"] > 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients(policy).values())


def test_held_out_rows_are_measured_alike_in_any_batches(
    policy: Policy, reference: FrozenCopy, rows: list[EncodedPreference]
) -> None:
    for objective in OBJECTIVES:
        learner = PreferenceLearner(policy, reference, objective, None)
        trained = step(learner, rows, 6)
        held_out = learner.evaluate(rows, size=4)
        assert held_out == pytest.approx(
            {f"held_out/{name}": value for name, value in trained.items()}, abs=1e-5, rel=1e-5
        )
        assert {"held_out/logps/chosen", "held_out/logps/rejected", "held_out/rewards/margins"} <= held_out.keys()


class Counting(Reference):
    """Counts what is asked of the reference behind it."""

    def __init__(self, reference: FrozenCopy) -> None:
        self.reference = reference
        self.forwards = self.logps_asked = 0
        reference.policy.model.get_decoder().register_forward_hook(self._forward)

    def _forward(self, *_: object) -> None:
        self.forwards += 1

    def __call__(
        self, rows: Sequence[Encoded], batch: PairBatch, *, logps: bool, latents: MaskChoice | None
    ) -> ReferenceView:
        self.logps_asked += logps
        return self.reference(rows, batch, logps=logps, latents=latents)


@pytest.mark.parametrize(
    ("objective", "regularised", "forwards", "with_logps"),
    [
        (DPO(), False, 1, 1),
        (DPO(), True, 1, 1),
        (SimPO(), False, 0, 0),
        (SimPO(), True, 1, 0),
        (ORPO(), False, 0, 0),
        (KTO(), False, 2, 2),  # one of them on mismatched responses
    ],
)
def test_the_reference_computes_what_is_needed_and_no_more(
    objective: PreferenceObjective,
    regularised: bool,
    forwards: int,
    with_logps: int,
    policy: Policy,
    reference: FrozenCopy,
    rows: list[EncodedPreference],
) -> None:
    counting = Counting(reference)
    regulariser = build_regulariser(Adversarial(discriminator=MSE()), 32, seed=0) if regularised else None
    step(PreferenceLearner(policy, counting, objective, regulariser), rows, len(rows))
    assert (counting.forwards, counting.logps_asked) == (forwards, with_logps)


def test_prompts_are_imitated_only_where_asked_for(policy: Policy, rows: list[EncodedPreference]) -> None:
    pairs = [row.pair for row in rows]
    lengths = [chosen.tokens - 1 for chosen, _ in pairs]
    trl = step(PreferenceLearner(policy, None, ORPO(nll="trl"), None), rows, len(rows))
    total = 0.0  # by the model's own loss
    for (chosen, _), length in zip(pairs, lengths, strict=True):
        ids = torch.tensor([chosen.input_ids])
        total += policy.model(input_ids=ids, labels=ids).loss.item() * length
    assert trl["nll_loss"] == pytest.approx(total / sum(lengths), abs=1e-5, rel=1e-5)

"""A live reward model learns by pointwise cross-entropy, however its batches are divided, and refuses to break."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import render_prompt, sample_examples
from trainer.errors import RunFailed
from trainer.models.reward_model import RewardModel
from trainer.models.starting_point import BackboneOrigin
from trainer.recipes.adversarial_batches import Labelled, Origin
from trainer.recipes.live_reward_model import LiveRewardModel, LiveSettings

LABELS: list[tuple[float, Origin]] = [
    (1.0, "accepted"),
    (0.0, "rejected"),
    (0.3, "generated"),
    (1.0, "accepted"),
    (0.0, "generated"),
]


def live(path: Path, micro: int | None = None, **optimizer: Any) -> LiveRewardModel:
    origin = BackboneOrigin.model_validate({"scratch": {"hidden_size": 16, "layers": 1, "heads": 2}})
    model, _ = origin.open(ArtifactStore(path), seed=0)
    torch.nn.init.normal_(model.model.classifier.weight)
    settings = {"optimizer": {"learning_rate": 1e-2, "schedule": "constant", "warmup_fraction": 0.0, **optimizer}}
    return LiveRewardModel(model, LiveSettings.model_validate({**settings, "batch": {"micro": micro}}), steps=4)


def rows(model: RewardModel) -> list[Labelled]:
    examples = sample_examples("train", len(LABELS), seed=0)
    return [
        Labelled(model.encode(render_prompt(example.task), example.response), label, origin)
        for example, (label, origin) in zip(examples, LABELS, strict=True)
    ]


def weights(model: RewardModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.network.parameters()])


def test_the_loss_is_the_mean_cross_entropy_of_each_row_alone(tmp_path: Path) -> None:
    made = live(tmp_path)
    batch = rows(made.model)
    scores = made.model.score([row.encoded for row in batch])[:, 0].tolist()
    found = made.step(batch, 0)
    # -y log sigmoid(s) - (1 - y) log sigmoid(-s) = log(1 + exp(s)) - y s
    losses = [math.log1p(math.exp(score)) - row.label * score for score, row in zip(scores, batch, strict=True)]
    assert found["reward_model/loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    probabilities = [1 / (1 + math.exp(-score)) for score in scores]
    assert found["reward_model/accepted/probability"] == pytest.approx((probabilities[0] + probabilities[3]) / 2)
    counted = {origin: found[f"reward_model/{origin}/rows"] for origin in ("accepted", "rejected", "generated")}
    assert counted == {"accepted": 2.0, "rejected": 1.0, "generated": 2.0}


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_steps_bring_scores_to_their_labels(label: float, tmp_path: Path) -> None:
    made = live(tmp_path, learning_rate=1e-3)
    batch = [replace(row, label=label) for row in rows(made.model)]
    losses = [made.step(batch, number)["reward_model/loss"] for number in range(4)]
    assert losses[3] < losses[2] < losses[1] < losses[0]


def test_micro_batches_change_nothing_but_memory(tmp_path: Path) -> None:
    whole, parts = live(tmp_path), live(tmp_path, micro=2)
    found = [made.step(rows(made.model), 0) for made in (whole, parts)]
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    torch.testing.assert_close(weights(whole.model), weights(parts.model), atol=1e-5, rtol=1e-4)


def test_gradients_are_clipped_before_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = live(tmp_path, max_grad_norm=1e-3)
    norms: list[float] = []

    def step() -> None:
        gradients = [p.grad for p in made.model.network.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))

    monkeypatch.setattr(made._adam, "step", step)
    told = made.step(rows(made.model), 0)["reward_model/grad_norm"]
    assert told > 0.01
    assert norms == [pytest.approx(1e-3, rel=1e-2)]


def test_what_is_not_finite_never_reaches_the_weights(tmp_path: Path) -> None:
    made = live(tmp_path)
    with torch.no_grad():
        made.model.model.classifier.bias.fill_(math.inf)
    before = weights(made.model)
    with pytest.raises(RunFailed, match=r"the reward model's loss is (inf|nan) at its step 3; lower reward_model"):
        made.step(rows(made.model), 2)
    assert torch.equal(weights(made.model), before)

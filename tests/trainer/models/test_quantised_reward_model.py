"""A quantised reward model's score is its pair's alone, which in batches it would not be."""

from pathlib import Path

import pytest
import torch

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import render_prompt, sample_examples
from trainer.models.int8_linear import Int8Linear
from trainer.models.pair_model import score_all
from trainer.models.quantised_reward_model import QuantisedRewardModel
from trainer.models.reward_model import RewardModel
from trainer.models.starting_point import BackboneOrigin, Scratch


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of eight layers with weights that let scores differ."""
    shape = Scratch(hidden_size=64, layers=8, heads=2, max_tokens=96)
    model, _ = BackboneOrigin(scratch=shape).open(ArtifactStore(tmp_path_factory.mktemp("store")), seed=0)
    with torch.no_grad():
        for parameter in (each for each in model.model.parameters() if each.dim() > 1):
            parameter.normal_(std=0.2)
    directory = tmp_path_factory.mktemp("deep")
    model.save(directory)
    return directory


DETAILS = {"architecture": "encoder", "pooling": "cls", "match_features": False, "max_tokens": 96}


def test_a_score_is_the_same_bits_in_any_batch_though_a_batch_read_together_moves_it(directory: Path) -> None:
    model = QuantisedRewardModel.load(directory, DETAILS)
    rows = [model.encode(render_prompt(each.task), each.response) for each in sample_examples("test", 12, seed=0)]

    alone = torch.cat([model.score([row]) for row in rows])

    assert torch.equal(model.score(rows), alone)
    assert torch.equal(model.score(rows[::-1]), alone.flip(0))
    assert [score for (score,) in score_all(model, rows)] == alone[:, 0].tolist()
    together = RewardModel.score(model, rows)
    assert float((together - alone).abs().max()) > 1e-3  # why every pair is read alone


def test_head_and_pooler_stay_floats_and_every_layer_between_is_integers(directory: Path) -> None:
    model = QuantisedRewardModel.load(directory, DETAILS)

    names = {name for name, module in model.model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert names == {"bert.pooler.dense", "classifier"}
    assert model.layers == sum(isinstance(module, Int8Linear) for module in model.model.modules()) == 8 * 6


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_scores_follow_those_of_the_floats(directory: Path, pooling: str) -> None:
    floats, model = (
        kind.load(directory, {**DETAILS, "pooling": pooling}) for kind in (RewardModel, QuantisedRewardModel)
    )
    rows = [floats.encode(render_prompt(each.task), each.response) for each in sample_examples("test", 40, seed=0)]

    before, after = (torch.tensor(score_all(each, rows))[:, 0] for each in (floats, model))

    assert 0 < float((after - before).abs().mean()) < 0.25 * float(before.std())
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.95

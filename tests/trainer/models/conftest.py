"""Tiny models with random weights, large enough to have every part of the real ones."""

import pytest
import torch
from transformers import LlamaForSequenceClassification

from trainer.data.product_world import make_tokenizer
from trainer.models.policy import Policy
from trainer.models.reward_model import RewardModel
from trainer.models.starting_point import BackboneOrigin, PolicyOrigin, Scratch

SHAPE = Scratch(hidden_size=32, layers=2, heads=2, max_tokens=96)


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    from trainer.artifacts import ArtifactStore

    policy, _ = PolicyOrigin(scratch=SHAPE).open(ArtifactStore(tmp_path_factory.mktemp("store")), seed=0)
    return Policy(policy.model.eval(), policy.tokenizer)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    from trainer.artifacts import ArtifactStore

    origin = BackboneOrigin(scratch=SHAPE, architecture="encoder", match_features=True)
    model, _ = origin.open(ArtifactStore(tmp_path_factory.mktemp("store")), seed=0)
    model.model.eval()
    return model


@pytest.fixture(scope="session")
def decoder(policy: Policy) -> RewardModel:
    torch.manual_seed(1)
    config = policy.model.config.__class__(**{**policy.model.config.to_dict(), "num_labels": 1})
    model = LlamaForSequenceClassification(config).eval()
    return RewardModel(model, make_tokenizer(), architecture="decoder", pooling="last_token")

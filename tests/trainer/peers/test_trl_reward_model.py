"""A decoder reward model's loss and gradients are those of TRL 1.16.0's RewardTrainer, margin and centring included.

To 1e-5 in float32, on rows of which TRL makes its own tokens.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from trainer.data.sources import ProductWorldData
from trainer.models.policy import Policy
from trainer.models.reward_model import RewardModel
from trainer.objectives.bradley_terry import bradley_terry

pytest.importorskip("trl", reason="the peer these tests compare with is not installed")
pytestmark = [
    # touched by TRL; transformers renames it in its version 6
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
TOLERANCE = 1e-5


@pytest.mark.parametrize("with_margin", [False, True])
@pytest.mark.parametrize("centring", [0.0, 0.5])
def test_a_reward_models_loss_and_gradients(
    with_margin: bool,
    centring: float,
    policy: Policy,
    data: ProductWorldData,
    settings: dict[str, Any],
    tell: Callable[..., Any],
) -> None:
    from trl import RewardConfig, RewardTrainer

    config = copy.deepcopy(policy.model.config)
    config.num_labels, config.pad_token_id = 1, policy.pad_id
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_config(config)
    rows, dataset = data.preferences(), tell(data.preferences())
    margins = torch.linspace(0.0, 2.0, len(rows))
    if with_margin:
        dataset = dataset.add_column("margin", margins.tolist())
    trainer = RewardTrainer(
        copy.deepcopy(network),
        RewardConfig(**settings, center_rewards_coefficient=centring or None),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
    )
    expected = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    expected.backward()

    model = RewardModel(network, policy.tokenizer, architecture="decoder", pooling="last_token")
    sides = [row.sides[place] for place in (0, 1) for row in rows]
    encoded = [model.encode(side.prompt, side.response) for side in sides]
    chosen, rejected = model.network(model.collate(encoded)).chunk(2)
    loss = bradley_terry(chosen, rejected, margins if with_margin else 0.0, centring=centring).mean()
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=TOLERANCE)
    theirs = dict(trainer.model.named_parameters())
    assert len(theirs) > 10
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-5, name
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=TOLERANCE, rtol=TOLERANCE, msg=name)

"""Values look to the left only, start at zero and teach the backbone they were told to teach."""

from dataclasses import replace

import pytest
import torch

from trainer.data.text import Encoded
from trainer.models.policy import PairBatch, Policy, collate
from trainer.models.value_head import ActorCritic, Trunk

TRUNKS: list[Trunk] = ["separate", "shared", "detached"]


@pytest.fixture
def batch() -> PairBatch:
    return collate([Encoded([2, 9, 10, 11, 12, 3], 2), Encoded([2, 20, 21, 3], 3)], pad_id=0)


def actor_critic(policy: Policy, trunk: Trunk) -> ActorCritic:
    torch.manual_seed(3)
    made = ActorCritic(policy, trunk)
    torch.nn.init.normal_(made.head.weight)
    return made


@pytest.mark.parametrize("trunk", TRUNKS)
def test_values_start_at_zero_and_logps_are_the_policys(policy: Policy, batch: PairBatch, trunk: Trunk) -> None:
    logps, values = ActorCritic(policy, trunk)(batch)
    assert float(values.detach().abs().max()) == 0.0
    torch.testing.assert_close(logps, policy.logps(batch))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_later_token_does_not_change_the_values_before_it(policy: Policy, batch: PairBatch, trunk: Trunk) -> None:
    critic = actor_critic(policy, trunk)
    _, values = critic(batch)
    changed = batch.input_ids.clone()
    changed[0, 4] = 30
    _, after = critic(replace(batch, input_ids=changed))
    assert torch.equal(values[0, 2:5], after[0, 2:5])  # the value at 4 is told before token 4 is seen
    assert float((values[0, 5] - after[0, 5]).detach().abs()) > 1e-4


@pytest.mark.parametrize("trunk", TRUNKS)
def test_values_do_not_depend_on_padding_and_are_zero_outside_the_response(policy: Policy, trunk: Trunk) -> None:
    critic = actor_critic(policy, trunk)
    row = Encoded([2, 20, 21, 3], 2)
    _, alone = critic(collate([row], pad_id=0))
    _, among = critic(collate([row, Encoded([2, *range(9, 20), 3], 4)], pad_id=0))
    torch.testing.assert_close(among[0, :4], alone[0])
    assert among[0, :2].tolist() == [0.0, 0.0]
    assert among[0, 4:].abs().max() == 0.0


@pytest.mark.parametrize(("trunk", "teaches"), [("separate", False), ("shared", True), ("detached", False)])
def test_whether_values_move_the_policy(policy: Policy, batch: PairBatch, trunk: Trunk, teaches: bool) -> None:
    critic = actor_critic(policy, trunk)
    critic.zero_grad(set_to_none=True)
    critic(batch)[1].sum().backward()
    layer = policy.model.get_parameter("model.layers.0.mlp.up_proj.weight")
    assert (layer.grad is not None and float(layer.grad.abs().sum()) > 0) == teaches
    assert all(parameter.grad is not None for parameter in critic.critic().parameters() if parameter.requires_grad)
    policy.model.zero_grad(set_to_none=True)

"""PPO finds what pays on a bandit-like task, and one pass does what its settings say."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.data.text import Encoded
from trainer.models.policy import Policy, collate
from trainer.models.starting_point import PolicyOrigin
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.ppo_settings import PPOSettings
from trainer.rollouts import PolicyPrompt, Rollout, TokenTable, encode_prompts, keep_on
from trainer.schedule import OptimizerSettings

QUICK: dict[str, Any] = {
    "rollouts": 64,
    "minibatch": 32,
    "max_response_tokens": 4,
    "value": {"trunk": "detached", "learning_rate": 1e-2},
    "kl": {"coefficient": 0.0},
}


def learner(path: Path, learning_rate: float = 5e-3, **changes: Any) -> PPOLearner:
    origin = PolicyOrigin.model_validate({"scratch": {"hidden_size": 32, "layers": 1, "heads": 2, "max_tokens": 32}})
    policy, _ = origin.open(ArtifactStore(path), seed=0)
    reference = Policy(copy.deepcopy(policy.model), make_tokenizer())
    optimizer = OptimizerSettings(learning_rate=learning_rate, schedule="constant", warmup_fraction=0.0)
    settings = PPOSettings.model_validate({**QUICK, **changes})
    return PPOLearner(policy, reference, settings, optimizer, passes=12, seed=1)


def prompts(of: PPOLearner, copies: int = 64) -> list[PolicyPrompt]:
    texts = [f"product {noun} | color red" for noun in ("mug", "lamp", "chair", "tent")]
    encoded = encode_prompts(of.policy, texts, 4)
    return [PolicyPrompt(index, encoded[index % 4].prompt, encoded[index % 4].ids) for index in range(copies)]


def even_share(rollout: Rollout) -> float:
    """Of the response's tokens, how many have an even id: one half for a policy that knows nothing."""
    tokens = rollout.encoded.input_ids[rollout.encoded.response_start :]
    return sum(token % 2 == 0 for token in tokens) / len(tokens)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"value": {"trunk": "separate", "learning_rate": 5e-3}},
        {"advantages": "rloo", "responses_per_prompt": 4},
        {"advantages": "group", "responses_per_prompt": 4},
    ],
)
def test_the_policy_learns_what_pays(changes: dict[str, Any], tmp_path: Path) -> None:
    made = learner(tmp_path, **changes)
    asked = prompts(made, made.settings.prompts)
    means = []
    for number in range(12):
        rollouts = made.sample(asked, number)
        scores = [even_share(rollout) for rollout in rollouts]
        means.append(sum(scores) / len(scores))
        made.learn(rollouts, scores, number)
    assert means[0] == pytest.approx(0.5, abs=0.12)
    assert means[-1] > 0.8


def test_a_kl_that_costs_more_than_it_earns_holds_the_policy(tmp_path: Path) -> None:
    free, held = learner(tmp_path), learner(tmp_path, kl={"coefficient": 3.0})
    kl = []
    for made in (free, held):
        asked = prompts(made)
        for number in range(6):
            rollouts = made.sample(asked, number)
            found = made.learn(rollouts, [even_share(rollout) for rollout in rollouts], number)
        kl.append(found["objective/kl"])
    assert kl[0] > 0.5
    assert kl[1] < 0.7 * kl[0]


def test_a_pass_over_fewer_responses_than_asked_for_counts_the_steps_that_it_makes(tmp_path: Path) -> None:
    made, told = learner(tmp_path), list[str]()
    rollouts = made.sample(prompts(made, 20), 0)  # of 64; a minibatch holds 32, and there are two epochs

    made.learn(rollouts, [0.0] * 20, 0, between=told.append)

    assert [each for each in told if "step" in each] == ["policy step 1 of 2", "policy step 2 of 2"]


def test_the_adaptive_coefficient_moves_with_each_pass(tmp_path: Path) -> None:
    made = learner(tmp_path, kl={"coefficient": 0.1, "target": 1.0})
    rollouts = made.sample(prompts(made), 0)
    made.learn(rollouts, [even_share(rollout) for rollout in rollouts], 0)
    assert made.coefficient == pytest.approx(0.1 * (1 - 0.1 * 0.2))  # no KL yet: the error is clipped at -0.2


def test_micro_batches_change_nothing_but_memory(tmp_path: Path) -> None:
    weights = []
    for micro in (None, 5):
        made = learner(tmp_path, learning_rate=1e-3, micro=micro, value={"trunk": "shared", "learning_rate": 1e-3})
        rollouts = made.sample(prompts(made), 0)
        made.learn(rollouts, [even_share(rollout) for rollout in rollouts], 0)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in made.actor_critic.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], atol=2e-5, rtol=1e-3)


def test_while_the_critic_warms_up_the_policy_stands_still(tmp_path: Path) -> None:
    made = learner(tmp_path)
    before = copy.deepcopy(made.policy.model.state_dict())
    rollouts = made.sample(prompts(made), 0)
    found = made.learn(rollouts, [even_share(rollout) for rollout in rollouts], 0, critic_only=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in made.policy.model.state_dict().items())
    assert float(made.actor_critic.head.weight.detach().abs().max()) > 0
    assert (found["lr"], found["lr/value"]) == (0.0, 1e-2)


def test_rewards_of_answers_that_did_not_end_or_cannot_be_scored(tmp_path: Path) -> None:
    prompt = PolicyPrompt(0, "x", (2,))
    cut, ended = (Rollout(prompt, "a", Encoded([2, 9, 10], 1), each) for each in (False, True))
    rollouts, scores = [ended, cut, ended, cut], [2.0, 2.0, None, None]

    def rewards(**reward: Any) -> list[float]:
        return learner(tmp_path, reward=reward)._rewards(rollouts, scores).tolist()

    assert rewards() == [2.0, 2.0, -10.0, -10.0]
    assert rewards(missing_eos_penalty=1.5, scale=2.0) == [4.0, 2.5, -20.0, -21.5]
    assert rewards(missing_eos_reward=0.0, clamp=1.0) == [1.0, 0.0, -1.0, 0.0]
    assert rewards(transform="sigmoid", scale=4.0) == pytest.approx([4 * 0.880797, 4 * 0.880797, 0.0, 0.0])


def table(**columns: list[list[float]]) -> TokenTable:
    """Two responses, of three tokens and of one, behind a prompt's token."""
    mask = torch.tensor([[False, True, True, True], [False, True, False, False]])
    zeros = torch.zeros(2, 4)
    values = {name: torch.tensor(column) for name, column in columns.items()}
    return TokenTable(mask, zeros, zeros, values.get("values", zeros))


def test_advantages_follow_the_settings(tmp_path: Path) -> None:
    rewards = torch.tensor([1.2, 3.1])
    kl = torch.tensor([[9.0, 0, 0, 2], [9, 1, 9, 9]])  # at the coefficient 0.1 the trajectories of test_policy_gradient
    said = table(values=[[0.0, 0.5, 0.4, 0.2], [0, 1, 0, 0]])
    given: dict[str, Any] = {"gamma": 0.9, "gae_lambda": 0.5, "kl": {"coefficient": 0.1}}
    advantages, returns = learner(tmp_path, whiten=False, **given)._advantages(rewards, kl, said)
    torch.testing.assert_close(advantages, torch.tensor([[0, -0.077, 0.14, 0.8], [0, 2.0, 0, 0]]))
    torch.testing.assert_close(returns, torch.tensor([[0, 0.423, 0.54, 1.0], [0, 3.0, 0, 0]]))
    whitened, same = learner(tmp_path, **given)._advantages(rewards, kl, said)
    assert torch.equal(same, returns)
    spread = torch.tensor([-0.077, 0.14, 0.8, 2.0])
    expected = (spread - spread.mean()) / spread.std(correction=0)
    torch.testing.assert_close(whitened[said.mask], expected, atol=1e-5, rtol=1e-5)
    # without a critic the KL of a whole response is taken from its reward: 1 and 3, one prompt's
    group: dict[str, Any] = {"responses_per_prompt": 2, "kl": {"coefficient": 0.1}}
    compared, none = learner(tmp_path, advantages="rloo", **group)._advantages(rewards, kl, said)
    torch.testing.assert_close(compared, torch.tensor([[0.0, -2, -2, -2], [0, 2, 0, 0]]))
    assert not bool(none.any())
    compared, _ = learner(tmp_path, advantages="group", **group)._advantages(rewards, kl, said)
    torch.testing.assert_close(compared, torch.tensor([[0.0, -1, -1, -1], [0, 1, 0, 0]]), atol=2e-4, rtol=0.0)


def test_a_minibatch_is_clipped_and_weighed_by_its_settings(tmp_path: Path) -> None:
    made = learner(tmp_path, clip=0.1, value={"trunk": "shared", "learning_rate": 1e-3, "clip": 0.05, "weight": 0.5})
    torch.manual_seed(0)
    torch.nn.init.normal_(made.actor_critic.head.weight)
    rollouts = made.sample(prompts(made, 8), 0)
    now = made._recompute(rollouts, keep_on)
    old = replace(now, logps=now.logps + 0.2 * torch.randn_like(now.logps), values=now.values + 0.1)
    advantages, returns = torch.randn_like(now.logps), torch.randn_like(now.logps)
    tokens = float(now.mask.sum())
    made._backward(rollouts, range(8), old, advantages, returns, tokens, False)
    ours = {name: parameter.grad for name, parameter in made.actor_critic.named_parameters()}
    made.actor_critic.zero_grad(set_to_none=True)
    batch = collate([rollout.encoded for rollout in rollouts], made.policy.pad_id)
    logps, values = made.actor_critic(batch)
    ratio = (logps - old.logps).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.1) * advantages)
    near = old.values + (values - old.values).clamp(-0.05, 0.05)
    errors = torch.maximum((values - returns).square(), (near - returns).square()) / 2
    ((0.5 * errors - surrogate)[now.mask].sum() / tokens).backward()
    assert len(ours) > 10
    for name, parameter in made.actor_critic.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, msg=name)


def test_gradients_are_clipped_before_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = learner(tmp_path)
    made.optimizer = made.optimizer.model_copy(update={"max_grad_norm": 1e-3})
    norms: list[float] = []

    def step() -> None:
        gradients = [p.grad for p in made.policy.network.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))

    monkeypatch.setattr(made.adam, "step", step)
    rollouts = made.sample(prompts(made), 0)
    made.learn(rollouts, [even_share(rollout) for rollout in rollouts], 0)
    assert norms == [pytest.approx(1e-3, rel=1e-2)] * 4


def test_every_epoch_takes_each_rollout_once_in_an_order_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = learner(tmp_path, epochs=3)
    taken: list[tuple[int, ...]] = []

    def step(rollouts: Any, chosen: Any, *others: Any) -> dict[str, float]:
        taken.append(tuple(chosen))
        return whole(rollouts, chosen, *others)

    whole = made._step
    monkeypatch.setattr(made, "_step", step)
    rollouts = made.sample(prompts(made), 0)
    made.learn(rollouts, [0.0] * 64, 0)
    assert [len(chosen) for chosen in taken] == [32] * 6
    epochs = [(*taken[start], *taken[start + 1]) for start in (0, 2, 4)]
    assert all(sorted(epoch) == list(range(64)) for epoch in epochs)
    assert len(set(epochs)) == 3

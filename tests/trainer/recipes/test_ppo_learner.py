"""PPO finds what pays on a bandit-like task, and one pass does what its settings say."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.data.text import Encoded
from trainer.models.policy import Policy
from trainer.models.starting_point import PolicyOrigin
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.ppo_settings import PPOSettings
from trainer.rollouts import PolicyPrompt, Rollout, encode_prompts
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

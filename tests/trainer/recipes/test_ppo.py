"""PPO learns, publishes what loads, resumes to the same weights and ends in one clear line."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trained import metrics_of, same, weights
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput, OverlongInput, RunFailed, Stopped
from trainer.models.loading import load_pair_model
from trainer.models.outputs import COMPARED_OUTPUTS
from trainer.recipe import Recipe
from trainer.recipes import parse_recipe
from trainer.reporting import STOP_FILE
from trainer.run import run_recipe
from trainer.validation_scores import read_validation_scores

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2, "max_tokens": 64}
PPO: dict[str, Any] = {
    "kind": "ppo",
    "name": "tuned",
    "policy": {"path": "base"},
    "data": {"kind": "product_world", "size": 24, "validation_size": 4, "levels": [1]},
    "reward_model": {"path": "tiny"},
    "rounds": 3,
    "optimizer": {"learning_rate": 1e-3, "schedule": "constant", "warmup_fraction": 0.0},
    "ppo": {
        "rollouts": 8,
        "minibatch": 4,
        "max_response_tokens": 12,
        "value": {"learning_rate": 1e-3},
        "reward": {"transform": "sigmoid", "missing_eos_reward": 0.0},
    },
    "evaluation": {"prompts": 2},
    "early_stop": None,
}


def recipe(**changes: Any) -> Recipe:
    content = {**PPO, **changes}
    if "ppo" in changes:
        content["ppo"] = {**PPO["ppo"], **changes["ppo"]}
    return parse_recipe(content)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    root = tmp_path_factory.mktemp("ppo")
    store = ArtifactStore(root / "artifacts")
    base = {
        "kind": "sft",
        "name": "base",
        "policy": {"scratch": SHAPE},
        "data": {"kind": "product_world", "size": 64, "validation_size": 4, "levels": [1]},
        "optimizer": {"learning_rate": 1e-2},
        "batch": {"size": 16},
        "max_steps": 12,
    }
    run_recipe(parse_recipe(base), root / "base", store, quiet=True)
    ignorant = {"kind": "reward_model", "name": "tiny", "backbone": {"scratch": SHAPE}, "max_steps": 1}
    run_recipe(parse_recipe({**ignorant, "data": base["data"]}), root / "tiny", store, quiet=True)
    return store


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ppo": {"value": {"trunk": "shared", "learning_rate": 1e-3, "warmup_rounds": 1}, "micro": 3}},
        {"ppo": {"value": {"trunk": "detached"}, "kl": {"estimator": "k3", "target": 1.0}}},
        {"ppo": {"advantages": "rloo", "responses_per_prompt": 2, "kl": {"estimator": "k2"}}},
        {"ppo": {"advantages": "group", "responses_per_prompt": 4, "reward": {"transform": "log_sigmoid"}}},
        {"policy": {"path": "base", "lora": {"rank": 2, "alpha": 4, "target_modules": "all-linear"}}},
        {"policy": {"path": "base", "dtype": "bfloat16"}},
        {"reward_model": {"kind": "product_world", "measure": "share"}},
    ],
)
def test_every_choice_publishes_a_policy_that_moved_and_loads(
    changes: dict[str, Any], store: ArtifactStore, tmp_path: Path
) -> None:
    result = run_recipe(recipe(**changes), tmp_path / "run", store, quiet=True)
    artifact = store.open(result["artifacts"]["policy"])
    load_pair_model(artifact, store, torch.device("cpu"))
    roles = {parent.role: parent.name for parent in artifact.manifest.parents}
    assert roles == {"reference": "base", **({} if "reward_model" in changes else {"reward_model": "tiny"})}
    said = read_validation_scores(artifact)
    assert said is not None, "of its own responses to the two held-out prompts that are evaluated"
    assert (said.scores.keys(), set(said.prompt)) == (set(COMPARED_OUTPUTS), {0, 1})
    assert not same(weights(store, artifact.reference), weights(store, "base"))
    rounds = metrics_of(tmp_path / "run")
    assert len(rounds) == 3
    for metrics in rounds:
        # the policy of the first update is the one that sampled, to rounding
        assert metrics["val/first_ratio"] == pytest.approx(1.0, abs=0.02 if "dtype" in str(changes) else 1e-5)
        assert {"objective/kl", "objective/scores", "policy/approxkl_avg", "loss/policy_avg"} <= metrics.keys()
    assert rounds[0]["objective/kl"] == pytest.approx(0.0, abs=0.2 if "dtype" in str(changes) else 1e-4)
    assert rounds[2]["objective/kl"] != rounds[0]["objective/kl"]
    assert result["metrics"]["held_out/oracle/gold"] >= 0


def test_a_killed_run_resumes_to_the_same_weights(
    store: ArtifactStore, tmp_path: Path, kill_after: Callable[..., None]
) -> None:
    content = recipe(rounds=6, checkpoint={"every_rounds": 2}, ppo={"kl": {"target": 0.5}})
    straight = run_recipe(content, tmp_path / "straight", store, quiet=True)
    directory = tmp_path / "killed"
    kill_after(content, directory, store, 3)  # past the checkpoint of round 2: within or after round 4
    resumed = run_recipe(content, directory, store, quiet=True)
    assert same(weights(store, straight["artifacts"]["policy"]), weights(store, resumed["artifacts"]["policy"]))
    assert straight["metrics"] == resumed["metrics"]


def test_a_run_stopped_before_it_began_continues_to_the_same_weights(store: ArtifactStore, tmp_path: Path) -> None:
    straight = run_recipe(recipe(), tmp_path / "straight", store, quiet=True)
    directory = tmp_path / "stopped"
    with pytest.raises(Stopped, match="stopped on request in round 1 of 3; it continues with the first"):
        run_recipe(recipe(labels={"who": "me"}), directory, _StoppingStore(store.root, directory), quiet=True)
    resumed = run_recipe(recipe(), directory, store, quiet=True)
    assert same(weights(store, straight["artifacts"]["policy"]), weights(store, resumed["artifacts"]["policy"]))


class _StoppingStore(ArtifactStore):
    """Asks for a stop once the run has begun."""

    def __init__(self, root: Path, directory: Path) -> None:
        super().__init__(root)
        self._run = directory

    def check_writable(self) -> None:
        super().check_writable()
        (self._run / STOP_FILE).touch()


def test_a_policy_that_diverges_ends_in_one_line_and_keeps_its_checkpoint(store: ArtifactStore, tmp_path: Path) -> None:
    wild = recipe(
        optimizer={"learning_rate": 0.03, "schedule": "constant", "warmup_fraction": 0.0}, ppo={"kl": {"limit": 1}}
    )
    with pytest.raises(RunFailed, match=r"the policy diverged: \d+\.\d nats per response .* lower optimizer"):
        run_recipe(wild, tmp_path / "run", store, quiet=True)
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_prompts_of_any_layout_are_answered_by_a_policy_from_a_directory(store: ArtifactStore, tmp_path: Path) -> None:
    turn = {"role": "user", "content": "product mug | color red"}
    answer = {"role": "assistant", "content": "its color is red ."}
    rows = [
        {"prompt": "product lamp | color red"},
        {"messages": [turn]},
        {"messages": [{**turn, "content": "product chair | color red"}, answer]},
        {"prompt": "product mug | size big", "chosen": "a .", "rejected": "b ."},
        {"chosen": [{**turn, "content": "product tent | size big"}, answer], "rejected": [turn, answer]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = recipe(
        name="from-directory",
        data={"path": str(tmp_path / "rows.jsonl")},
        policy={"path": str(store.open("base").path)},
        ppo={"rollouts": 10, "responses_per_prompt": 2},
        rounds=1,
    )
    result = run_recipe(content, tmp_path / "run", store, quiet=True)
    artifact = store.open(result["artifacts"]["policy"])
    load_pair_model(artifact, store, torch.device("cpu"))
    assert "from-directory/reference" in {parent.name for parent in artifact.manifest.parents}
    prompts = [
        probe.prompt if isinstance(probe.prompt, str) else probe.prompt[0]["content"]
        for probe in artifact.manifest.probes
    ]
    assert prompts[0] == "product lamp | color red"


def test_hacking_ends_the_run_early_with_its_reason(store: ArtifactStore, tmp_path: Path) -> None:
    # an untrained reward model knows nothing of the task: what raises its score is no better for it
    eager = recipe(rounds=40, early_stop={"window": 2, "drop": 0.01, "patience": 1})
    result = run_recipe(eager, tmp_path / "run", store, quiet=True)
    assert result["steps"] < 40
    assert result["stopped_early"].startswith("reward hacking: since round")
    details = store.open(result["artifacts"]["policy"]).manifest.details
    assert details["stopped_early"] == result["stopped_early"]
    # what is published is the policy of the round at which the checker's averages were highest
    judged = [metrics["oracle/gold"] for metrics in metrics_of(tmp_path / "run")]
    averages = [(earlier + later) / 2 for earlier, later in itertools.pairwise(judged)]
    best = averages.index(max(averages)) + 2
    assert details["policy_round"] == best < result["steps"]
    shorter = run_recipe(recipe(rounds=best), tmp_path / "shorter", store, quiet=True)
    ours, theirs = result["artifacts"]["policy"], shorter["artifacts"]["policy"]
    assert ours != theirs
    assert same(weights(store, ours), weights(store, theirs))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"launch": {"processes": 2}}, InvalidInput, "train in one process; set launch.processes to 1"),
        ({"reward_model": {"path": "tiny:nothing"}}, InvalidInput, "no output 'nothing'; it has score"),
        ({"ppo": {"max_response_tokens": 60}}, OverlongInput, "the policy has room for 4"),
    ],
)
def test_what_cannot_run_says_so_before_it_trains(
    changes: dict[str, Any], error: type[Exception], message: str, store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_recipe(recipe(**changes), tmp_path / "run", store, quiet=True)
    assert metrics_of(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ppo": {"rollouts": 9, "responses_per_prompt": 2}}, "cannot be shared out evenly in groups of 2"),
        ({"ppo": {"advantages": "rloo"}}, "set responses_per_prompt"),
    ],
)
def test_wrong_settings_are_pointed_at(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        recipe(**changes)
    assert caught.value.pointer == "/ppo"

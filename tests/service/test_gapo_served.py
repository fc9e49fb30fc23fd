"""What `kind: gapo` publishes is scored, compared and explained under the names a user would type."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.cli import main
from trainer.artifacts import ArtifactStore
from trainer.validation_scores import read_validation_scores

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2, "max_tokens": 96}
GAPO: dict[str, Any] = {
    "kind": "gapo",
    "name": "game",
    "policy": {"path": "base"},
    "data": {"kind": "product_world", "size": 24, "validation_size": 24},
    "reward_model": {
        "warm_up": {"backbone": {"scratch": SHAPE, "match_features": True}, "max_steps": 2},
        "optimizer": {"learning_rate": 1e-2, "warmup_fraction": 0.0},
    },
    "rounds": 2,
    "ppo": {"rollouts": 8, "minibatch": 8, "max_response_tokens": 12, "value": {"trunk": "detached"}},
    "evaluation": {"prompts": 2},
    "early_stop": None,
}
PROMPT = "product mug | color red ; size tiny | len 7 to 9"
RESPONSE = "size is tiny . the color is red ."
ITEM = {"prompt": PROMPT, "response": RESPONSE}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    from trainer.recipes import parse_recipe
    from trainer.run import run_recipe

    root = tmp_path_factory.mktemp("game")
    store = ArtifactStore(root / "artifacts")
    base = {"kind": "sft", "name": "base", "policy": {"scratch": SHAPE}, "data": GAPO["data"], "max_steps": 1}
    for content in (base, GAPO):
        run_recipe(parse_recipe(content), root / content["name"], store, quiet=True)
    return store


@pytest.fixture
def client(store: ArtifactStore, client_of: Callable[[ArtifactStore], TestClient]) -> TestClient:
    return client_of(store)


def test_anchor_live_model_and_policy_score_and_all_but_the_anchor_name_it(client: TestClient) -> None:
    names = ["game", "game/reward_model", "game/live_reward_model"]
    answer = client.post("/v1/scores", json={"scorers": names, "items": [ITEM]}).json()
    policy, anchor, live = answer["scorers"]

    assert [each["prefer"] for each in (policy, anchor, live)] == ["game/reward_model@1", None, "game/reward_model@1"]
    assert (policy["kind"], policy["output"]) == ("policy", "implicit_reward")
    assert (anchor["pointwise"], live["pointwise"], policy["pointwise"]) == (True, True, False)
    (cells,) = answer["items"][0]["scores"]
    assert 0 < cells["game/reward_model"]["probability"] < 1
    assert cells["game/reward_model"]["score"] != cells["game/live_reward_model"]["score"]
    assert cells["game"]["probability"] is None
    listed = {each["name"]: each["prefer"] for each in client.get("/v1/scorers").json()["data"]}
    assert (listed["game"], listed["game/reward_model"], listed["base"]) == ("game/reward_model@1", None, None)


def test_manifests_say_how_a_pair_is_read_what_a_score_means_and_which_of_the_two_to_serve(
    store: ArtifactStore,
) -> None:
    anchor, live = (store.open(f"game/{name}").manifest for name in ("reward_model", "live_reward_model"))
    for manifest in (anchor, live):
        assert manifest.details["segments"] == ["prompt", "response"]
        assert manifest.details["template"] == "<cls> {prompt} <sep> {response} <sep>"
        assert (manifest.details["loss"], manifest.details["contrasts"]) == ("bce", ["prompts"])
        assert manifest.details["calibration"]["temperature"] > 0
        assert any(name.startswith("held_out/accuracy/mod_") for name in manifest.metrics)
    assert (anchor.details["round"], live.details["round"]) == (0, 2)
    assert "serve this one" in anchor.details["why"]
    assert "serve the anchor" in live.details["why"]


def test_both_carry_what_they_say_of_held_out_rows_two_prompts_of_a_row_being_one_cluster(store: ArtifactStore) -> None:
    warm, anchor, live = (
        read_validation_scores(store.open(f"game/{name}")) for name in ("warm_up", "reward_model", "live_reward_model")
    )
    assert warm is not None
    assert anchor == warm, "its weights are the warm-up's"
    assert live is not None
    assert live.scores != anchor.scores
    assert (live.prompt, live.characters) == (anchor.prompt, anchor.characters)
    assert len(live.prompt) == 48
    assert all(live.prompt.count(number) % 2 == 0 for number in live.prompt)


def test_the_anchor_compares_prompts_and_attributes(client: TestClient) -> None:
    body = {"scorer": "game/reward_model", "response": RESPONSE, "prompts": [PROMPT, PROMPT.replace("red", "blue")]}
    compared = client.post("/v1/comparisons", json=body).json()
    attributed = client.post("/v1/attributions", json={"scorer": "game/reward_model", **ITEM}).json()

    assert compared["probabilities"][0][1] + compared["probabilities"][1][0] == pytest.approx(1)
    assert all(0 < cell["probability"] < 1 for cell in compared["scores"])
    assert [each["constraint"] for each in attributed["attributions"]] == ["color red", "size tiny", "len 7 to 9"]
    assert all(each["probability_difference"] is not None for each in attributed["attributions"])


def test_the_command_scores_with_them_and_tells_who_scores_the_policys_name_that_it_is_the_policy(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps(ITEM) + "\n")
    names = ["game", "game/reward_model", "game/live_reward_model"]
    options = [word for name in names for word in ("--scorer", name)]

    assert main(["score", str(pairs), *options, "--artifact-dir", str(store.root)]) == 0
    said = capsys.readouterr()
    assert all(json.loads(said.out)["scores"][0][name]["score"] is not None for name in names)
    instead = "; to score responses in general, game/reward_model@1 is there"
    assert f"game is game@1:implicit_reward{instead}\n" in said.err
    assert "game/reward_model is game/reward_model@1\n" in said.err
    assert f"game/live_reward_model is game/live_reward_model@1{instead}\n" in said.err

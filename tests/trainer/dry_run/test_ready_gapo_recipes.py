"""Every ready recipe of GAPO is one that runs: its plan has the paper's numbers, with neither weights nor a network."""

import json
from pathlib import Path

import pytest

from trainer.artifacts import ArtifactStore
from trainer.dry_run.check import DryRun, dry_run
from trainer.models.scratch import Scratch
from trainer.recipe import apply_overrides, read_recipe
from trainer.recipes import parse_recipe
from trainer.recipes.gapo import GAPO

ROOT = Path(__file__).parents[3] / "recipes"
QWEN = ROOT / "qwen2.5-7b-instruct"
LARGE = ROOT / "product-world-large"
FILES = sorted(QWEN.glob("*.yaml"))
PAPERS_ROWS = 6600
GPU = 80e9
GIB = 2**30


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the paper had, where the recipes look for them."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("pdd", PAPERS_ROWS), ("instructions", PAPERS_ROWS)):
        for file, amount in ((f"{name}.jsonl", count), (f"{name}-held-out.jsonl", 20)):
            row = {"perturbed_prompt": "in two words", "response": "one of three words"}
            lines = (json.dumps({"prompt": f"number {n} in four words", **row}) for n in range(amount))
            Path(file).write_text("\n".join(lines) + "\n")


def test_there_are_the_papers_two_runs_and_two_for_a_single_gpu() -> None:
    assert [file.stem for file in FILES] == ["gapo-ifeval", "gapo-lora", "gapo-pdd", "ppo-lora"]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_ready_recipe_has_the_papers_rounds_and_fits_where_it_says(file: Path, tmp_path: Path) -> None:
    recipe, text = read_gapo(file), file.read_text(encoding="utf-8")
    report = dry_run(recipe, ArtifactStore(tmp_path / "artifacts"))
    assert recipe.name == f"qwen2.5-7b-instruct-{file.stem}"
    assert "arXiv 2503.20194" in text
    assert report.rounds is not None
    assert report.network is not None
    assert report.rounds_memory is not None
    assert not [sentence for sentence in report.unchecked if sentence.startswith("memory")]
    ifeval, adapted = file.stem == "gapo-ifeval", file.stem.endswith("lora")
    updates = 14 * 2 * (64 if ifeval else 8)  # rounds, epochs, minibatches of 16 or 128 among 1,024 rollouts
    assert (report.rounds.rounds, report.rounds.prompts, report.rounds.rollouts) == (14, PAPERS_ROWS, 1024)
    assert report.rounds.policy_updates == updates
    assert report.rounds.reward_model_steps == (0 if file.stem == "ppo-lora" else updates)  # one for one
    assert report.rounds.warm_up_steps == 2 * (1650 if ifeval else 825)
    adapters = report.network.trained if adapted else 0
    assert report.network.parameters == 7_615_616_512 + adapters
    assert report.rounds_memory.anchor == 4 * (148_660_225 if adapted else 434_601_985)
    if adapted:
        assert "one GPU of 80 GB" in text
        assert report.rounds_memory.total < 0.9 * GPU
    else:
        assert "takes 300 GiB" in text
        assert report.rounds_memory.total / GIB == pytest.approx(300, rel=0.02)


@pytest.mark.parametrize("name", ["gapo-pdd", "gapo-ifeval"])
def test_the_papers_runs_have_its_settings_and_say_where_the_released_code_differs(name: str) -> None:
    recipe, text = read_gapo(QWEN / f"{name}.yaml"), (QWEN / f"{name}.yaml").read_text(encoding="utf-8")
    pdd = name == "gapo-pdd"
    ppo, warm_up = recipe.ppo, recipe.reward_model.warm_up
    assert warm_up is not None
    assert (recipe.optimizer.learning_rate, ppo.value.learning_rate) == ((5e-7, 9e-6) if pdd else (1e-4, 2e-4))
    assert (ppo.minibatch, recipe.reward_model.batch.size) == ((128, 8) if pdd else (16, 4))
    assert (warm_up.batch.size, warm_up.epochs, warm_up.optimizer.learning_rate) == (8 if pdd else 4, 2, 1e-5)
    assert (recipe.reward_model.optimizer.learning_rate, recipe.optimizer.max_grad_norm) == (1e-5, 1.0)
    assert (ppo.rollouts, ppo.epochs, ppo.gamma, ppo.gae_lambda, ppo.whiten) == (1024, 2, 1.0, 0.95, True)
    assert (ppo.kl.estimator, ppo.kl.coefficient, ppo.kl.target) == ("k1", 0.01, None)
    assert (ppo.clip, ppo.value.clip, ppo.value.trunk) == (0.2, 0.2, "separate")
    assert (ppo.reward.transform, ppo.reward.clamp) == ("logit", 10.0)
    assert (recipe.data.max_prompt_tokens, ppo.max_response_tokens) == (1024, 1024)
    assert (recipe.reward_model.accepted_share, recipe.generated_share, recipe.generated_label.kind) == (
        0.5,
        0.25,
        "zero",
    )
    assert text.count("released code") == 3


def test_the_single_gpus_two_runs_differ_in_whether_the_reward_model_learns() -> None:
    gapo, ppo = (read_gapo(QWEN / f"{name}-lora.yaml").model_dump(mode="json") for name in ("gapo", "ppo"))
    assert {field for field in gapo if gapo[field] != ppo[field]} == {"name", "reward_model_steps"}


@pytest.mark.parametrize(
    ("name", "parameters"), [("1-sft", 113_632_512), ("3-ppo", 113_632_512), ("4-gapo", 113_632_512)]
)
def test_the_large_worlds_policy_has_a_hundred_million_parameters_and_fits(
    name: str, parameters: int, tmp_path: Path
) -> None:
    report = check_large(name, tmp_path)
    assert report.network is not None
    assert report.network.parameters == parameters
    assert not [sentence for sentence in report.unchecked if sentence.startswith("memory")]
    memory = report.rounds_memory.total if report.rounds_memory else report.memory[0].total
    assert memory < 0.9 * GPU
    if report.rounds is not None:
        assert report.rounds.policy_updates == 50 * 2 * 4
        assert report.rounds.reward_model_steps == (600 if name == "4-gapo" else 0)


def test_the_large_worlds_two_arms_differ_in_the_reward_model_alone() -> None:
    ppo, gapo = (read_recipe(LARGE / f"{name}.yaml") for name in ("3-ppo", "4-gapo"))
    differing = {"kind", "name", "reward_model", "data", "generated_share", "reward_model_steps", "replay"}
    assert {field for field in {*ppo, *gapo} if ppo.get(field) != gapo.get(field)} == differing
    assert ppo["data"] == {**gapo["data"], "contrast": "prompt"}  # which kind gapo sets by itself


def read_gapo(file: Path) -> GAPO:
    recipe = parse_recipe(read_recipe(file))
    assert isinstance(recipe, GAPO)
    return recipe


def check_large(name: str, tmp_path: Path) -> DryRun:
    """With the shapes that the first two recipes would have published."""
    policy = read_recipe(LARGE / "1-sft.yaml")["policy"]["scratch"]
    encoder = read_recipe(LARGE / "2-reward-model.yaml")["backbone"]["scratch"]
    publish_shape(tmp_path, "policy", "large-world-policy", policy)
    publish_shape(tmp_path, "reward_model", "large-world-reward-model", encoder)
    content = apply_overrides(read_recipe(LARGE / f"{name}.yaml"), ["data.size=2000"])
    return dry_run(parse_recipe(content), ArtifactStore(tmp_path))


def publish_shape(store: Path, kind: str, name: str, shape: dict[str, object]) -> None:
    """An artifact without weights, of which a dry run reads no more."""
    directory = store / name / "1"
    directory.mkdir(parents=True)
    scratch = Scratch.model_validate(shape)
    config = scratch.policy_config() if kind == "policy" else scratch.encoder_config(match_features=True)
    config.save_pretrained(directory)
    manifest = {"kind": kind, "name": name, "version": 1, "created_at": "2026-01-01T00:00:00Z", "job": None}
    rest = {"recipe": {}, "recipe_digest": "", "parents": [], "data_digest": None, "code_version": "0"}
    (directory / "manifest.json").write_text(
        json.dumps({**manifest, **rest, "metrics": {}, "details": {}, "probes": [], "files": {}})
    )

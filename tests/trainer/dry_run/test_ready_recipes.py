"""Every ready recipe of GANPO runs: its plan has the numbers of the paper, with neither weights nor a network."""

from pathlib import Path

import pytest
import torch

from trainer.adversarial.settings import Adversarial
from trainer.artifacts import ArtifactStore
from trainer.dry_run.check import dry_run
from trainer.models.discriminators import TransformerDiscriminator
from trainer.objectives import DPO, SimPO
from trainer.recipe import read_recipe
from trainer.recipes import parse_recipe
from trainer.recipes.preference import GANPO, PreferenceTraining
from trainer.recipes.training import TrainingRecipe

ROOT = Path(__file__).parents[3] / "recipes"
FILES = sorted(file for model in ("gemma-2-2b-it", "llama-3-8b-instruct") for file in (ROOT / model).glob("*.yaml"))
METHODS = ("dpo", "ganpo-dpo", "ganpo-simpo", "simpo")


def test_there_is_a_recipe_for_every_row_of_the_paper() -> None:
    expected = {f"{model}/{method}" for model in ("gemma-2-2b-it", "llama-3-8b-instruct") for method in METHODS}
    found = {str(file.relative_to(ROOT).with_suffix("")) for file in FILES}
    assert found == expected | {"gemma-2-2b-it/proxy-reward-model"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_ready_recipe_has_the_papers_steps_and_parameters(file: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(read_recipe(file))
    report = dry_run(recipe, ArtifactStore(tmp_path / "artifacts"))
    gemma = file.parent.name == "gemma-2-2b-it"
    assert report.data is not None
    assert (report.data.rows, report.steps) == ((62_135, 486) if gemma else (59_876, 468))
    head = 2304 if "reward-model" in file.stem else 0  # one output of 2,304 weights
    assert report.network is not None
    assert report.network.parameters == (2_614_341_888 + head if gemma else 8_030_261_248)
    assert report.network.trained == report.network.parameters
    assert recipe.name == f"{file.parent.name}-{file.stem}"
    assert list(tmp_path.iterdir()) == []
    assert not [sentence for sentence in report.unchecked if sentence.startswith("memory")]
    fits = report.memory[0 if gemma else 1]  # the way the file's comment says to launch it
    assert (fits.sharded, fits.processes) == ((False, 4) if gemma else (True, 8))
    assert fits.total < 0.9 * 80e9


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_ready_recipe_has_the_settings_of_appendix_b(file: Path) -> None:
    recipe = parse_recipe(read_recipe(file))
    gemma = file.parent.name == "gemma-2-2b-it"
    assert isinstance(recipe, TrainingRecipe)
    assert (recipe.batch.size, recipe.epochs, recipe.max_steps) == (128, 1.0, None)
    assert (recipe.optimizer.schedule, recipe.optimizer.warmup_fraction) == ("cosine", 0.1)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.max_grad_norm) == (0.0, 1.0)
    assert recipe.compute_dtype == torch.bfloat16
    assert recipe.gradient_checkpointing
    assert (recipe.data.max_tokens, recipe.data.max_prompt_tokens) == (2048, 1800)
    if not isinstance(recipe, PreferenceTraining):
        return
    rate = 5e-7 if gemma else 1e-6
    assert recipe.optimizer.learning_rate == rate
    simpo = SimPO(beta=10.0, gamma_ratio=0.5 if gemma else 0.3)
    assert recipe.objective == (simpo if "simpo" in file.stem else DPO(beta=0.1))
    assert isinstance(recipe, GANPO) == file.stem.startswith("ganpo")
    if isinstance(recipe, GANPO):
        network = TransformerDiscriminator(layers=2 if gemma else 4, width=512, heads=8)
        assert recipe.adversarial == Adversarial(learning_rate=rate / 2, discriminator=network)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_ready_recipe_says_where_the_released_code_differs(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "arXiv 2601.22083" in text
    assert ("released code" in text) or ("The paper names model and data only" in text)

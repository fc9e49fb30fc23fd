"""The chains at the paper's scale: made of the ready recipes, and honest about what is not here."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.recipes import parse_recipe
from evaluation.recipes.downstream import SAMPLES_FILE
from evaluation.reproduction.answers import Answers
from evaluation.reproduction.paper import ALPACA, ALPACA_BASELINE, JUDGE, PaperWorld, needs
from evaluation.reproduction.result import steps
from evaluation.reproduction.results import RESULTS
from evaluation.reproduction.schedule import Step
from trainer.artifacts import ArtifactStore
from trainer.recipe import read_recipe
from trainer.recipes import parse_recipe as parse_training

READY = Path(__file__).parents[3] / "recipes"


@pytest.mark.parametrize(
    ("result", "family"), [(name, each) for name, made in RESULTS.items() for each in made.families]
)
def test_every_chain_is_of_valid_recipes_in_an_order_in_which_they_can_be_run(
    result: str, family: str, tmp_path: Path
) -> None:
    before: set[str] = set()
    for step in steps(RESULTS[result], [PaperWorld(0, family, tmp_path)]):
        assert parse_recipe(step.recipe).name == step.name
        assert before.issuperset(step.needs), step.name
        before.add(step.name)
    assert f"{family}-s0-ganpo-transformer" in before


@pytest.mark.parametrize("family", ["gemma-2-2b-it", "llama-3-8b-instruct"])
def test_arms_are_the_ready_recipes_but_for_their_name_and_seed(family: str, tmp_path: Path) -> None:
    world = PaperWorld(3, family, tmp_path)
    arms = {"dpo": "dpo", "simpo": "simpo", "ganpo-transformer": "ganpo-dpo", "ganpo-simpo": "ganpo-simpo"}
    for arm, file in arms.items():
        own = parse_training({**world.arm(arm).recipe, "name": "same", "seed": 0})
        ready = parse_training({**read_recipe(READY / family / f"{file}.yaml"), "name": "same", "seed": 0})
        assert own == ready


def test_table_3_differs_in_the_discriminator_alone(tmp_path: Path) -> None:
    world = PaperWorld(0, "gemma-2-2b-it", tmp_path)
    arms = {kind: dict(world.arm(f"ganpo-{kind}").recipe) for kind in ("transformer", "mse", "mlp", "random")}
    kinds = {kind: arm["adversarial"]["discriminator"]["kind"] for kind, arm in arms.items()}
    assert kinds == {kind: kind for kind in arms}
    for arm in arms.values():
        arm["adversarial"] = {**arm["adversarial"], "discriminator": None}
        del arm["name"]
    assert all(arm == arms["mse"] for arm in arms.values())


def test_a_chain_says_what_must_be_had_and_what_of_it_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    chain = steps(RESULTS["table1"], [PaperWorld(0, "gemma-2-2b-it", tmp_path)])
    recipes = [parse_recipe(step.recipe) for step in chain]
    (tmp_path / ALPACA).write_text("")
    found = {each.what: each.here for each in needs(chain, recipes, tmp_path, ArtifactStore(tmp_path / "artifacts"))}

    def said(word: str) -> bool | None:
        [here] = [here for what, here in found.items() if word in what]
        return here

    assert said(f"{ALPACA}:") is True
    assert said(ALPACA_BASELINE) is False
    assert said("OPENAI_API_KEY") is False
    assert said("google/gemma-2-2b-it") is None
    assert any(what.startswith("4 GPUs") for what in found)
    assert not any("ifeval" in what for what in found), "table 1 asks for none of it"


def test_the_judge_meets_the_baselines_length_by_the_prompts_name_and_not_by_its_place(tmp_path: Path) -> None:
    def write(name: str, rows: list[dict[str, str]]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(ALPACA, [{"prompt_id": "a", "prompt": "?"}, {"prompt_id": "b", "prompt": "?"}])
    write(ALPACA_BASELINE, [{"prompt_id": "b", "response": "four"}, {"prompt_id": "a", "response": "x"}])
    own = Answers(
        2, np.array([0, 1]), np.ones(2), np.zeros(2, dtype=np.int64), np.ones(2), {JUDGE: np.array([1.0, 0.5])}
    )
    asked: list[str] = []

    def read(step: Step) -> Answers:
        asked.append(step.name)
        return own

    battles = PaperWorld(0, "gemma-2-2b-it", tmp_path).battles("dpo", read)
    assert battles.baseline_characters.tolist() == [1, 4]
    assert asked == ["gemma-2-2b-it-s0-dpo-alpaca-eval"]


def test_a_groups_tasks_count_their_documents_apart_and_other_metrics_are_left_out(tmp_path: Path) -> None:
    rows = [
        ("mmlu_law", "acc,none", 0, 1),
        ("mmlu_art", "acc,none", 0, 0),
        ("mmlu_law", "acc_norm,none", 0, 0),
        ("mmlupro", "acc,none", 0, 1),
    ]
    names = ("task", "metric", "document", "value")
    (tmp_path / SAMPLES_FILE).write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    found = PaperWorld(0, "gemma-2-2b-it", tmp_path).knows("dpo", "mmlu", lambda name: tmp_path)
    assert found == ([0, 1], [1.0, 0.0])

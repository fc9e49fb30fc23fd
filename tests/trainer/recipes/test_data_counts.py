"""What became of a run's rows is in the manifest of everything that was made of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.artifacts import ArtifactStore
from trainer.importing import import_model
from trainer.recipes import parse_recipe
from trainer.run import run_recipe

PROMPT, LONG = "product mug | color red", "product mug | color red ; " * 10
GOOD, BAD = "the color is red .", "the color is blue ."
HELD_OUT = [(PROMPT, GOOD, BAD), (PROMPT, GOOD, BAD * 12)]
"""The second has a response of 60 words."""
TRAINING = [(PROMPT, GOOD, BAD)] * 4 + [(LONG, GOOD, BAD), (PROMPT, GOOD * 12, BAD)]
"""Of the fifth both texts are cut, the sixth has a long response; after them comes a line that is no row."""
COUNTS = {
    "training": {"rows": 6, "skipped": 1, "left_out": 1, "truncated": 2},
    "held_out": {"rows": 2, "skipped": 0, "left_out": 1, "truncated": 0},
}
SHAPE = {"hidden_size": 16, "layers": 1, "heads": 2}
POLICY = {"policy": {"path": "base"}}
RECIPES: dict[str, dict[str, Any]] = {
    "preference": POLICY,
    "ganpo": {**POLICY, "adversarial": {"discriminator": {"kind": "linear"}}},
    "reward_model": {"backbone": {"scratch": SHAPE}},
    "discriminator": {"reference": {"path": "base"}, "discriminator": {"kind": "linear"}, "loss": "bradley_terry"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    root = tmp_path_factory.mktemp("counts")
    store = ArtifactStore(root / "artifacts")
    data = {"kind": "product_world", "size": 8, "validation_size": 2}
    base = {"kind": "sft", "name": "base", "policy": {"scratch": SHAPE}, "data": data, "max_steps": 1}
    run_recipe(parse_recipe({**base, "batch": {"size": 8}}), root / "base", store, quiet=True)
    return store


def recipe(kind: str, folder: Path, **fields: Any) -> Any:
    columns = ("prompt", "response") if kind == "sft" else ("prompt", "chosen", "rejected")
    for name, rows in {"rows": TRAINING, "held_out": HELD_OUT}.items():
        lines = [json.dumps(dict(zip(columns, row, strict=False))) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join([*lines, "no row"][: len(rows) + (name == "rows")]) + "\n")
    data = {
        "path": str(folder / "rows.jsonl"),
        "validation": str(folder / "held_out.jsonl"),
        "on_bad_row": "skip",
        "max_prompt_tokens": 40,
        "max_response_tokens": 40,
    }
    return parse_recipe({"kind": kind, "name": kind, "data": data, "batch": {"size": 4}, "max_steps": 1, **fields})


def counts(result: dict[str, Any], store: ArtifactStore) -> list[dict[str, dict[str, int]]]:
    return [store.open(reference).manifest.data_counts for reference in result["artifacts"].values()]


@pytest.mark.parametrize("kind", RECIPES)
def test_what_was_read_skipped_left_out_and_cut_is_in_every_manifest(
    kind: str, store: ArtifactStore, tmp_path: Path
) -> None:
    made = run_recipe(recipe(kind, tmp_path, **RECIPES[kind]), tmp_path / "run", store, quiet=True)
    found = counts(made, store)
    assert found == [COUNTS] * (2 if kind == "ganpo" else 1)


def test_a_text_to_imitate_counts_once(store: ArtifactStore, tmp_path: Path) -> None:
    made = run_recipe(recipe("sft", tmp_path, **POLICY), tmp_path / "run", store, quiet=True)
    held_out = {"rows": 2, "skipped": 0, "left_out": 0, "truncated": 0}
    assert counts(made, store) == [{"training": {**COUNTS["training"], "truncated": 1}, "held_out": held_out}]


def test_untrained_controls_leave_the_training_rows_uncounted(store: ArtifactStore, tmp_path: Path) -> None:
    fields = {"reference": {"path": "base"}, "discriminator": {"kind": "random", "of": {"kind": "linear"}}, "copies": 2}
    made = run_recipe(recipe("discriminator", tmp_path, **fields), tmp_path / "run", store, quiet=True)
    assert counts(made, store) == [{"training": {"rows": 6, "skipped": 1}, "held_out": COUNTS["held_out"]}]


def test_an_imported_artifact_keeps_its_counts_and_an_older_one_has_none(store: ArtifactStore, tmp_path: Path) -> None:
    base = store.open("base")
    assert base.manifest.data_counts["training"] == {"rows": 8, "skipped": 0, "left_out": 0, "truncated": 0}
    imported = import_model(store, str(base.path), "again")
    assert imported.manifest.data_counts == base.manifest.data_counts
    older = base.manifest.model_dump(mode="json", exclude={"data_counts"})
    assert type(base.manifest).model_validate(older).data_counts == {}

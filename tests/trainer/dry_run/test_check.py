"""A dry run reads what is here, says what it cannot know, and touches nothing."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from rich.console import Console

from trainer.__main__ import main
from trainer.artifacts import ArtifactStore
from trainer.dry_run.check import DryRun, dry_run, memory_needed
from trainer.dry_run.table import print_dry_run
from trainer.errors import InvalidInput, NotFound
from trainer.models.starting_point import PolicyOrigin, Scratch
from trainer.recipes import parse_recipe

SHAPE = {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 64}
PAIRS = [{"prompt": f"p{n}", "chosen": "yes", "rejected": "no"} for n in range(10)]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", PAIRS)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check(tmp_path: Path, **fields: Any) -> DryRun:
    content = {"kind": "preference", "name": "mine", "policy": {"scratch": SHAPE}, "batch": {"size": 4}, **fields}
    return dry_run(parse_recipe(content), ArtifactStore(tmp_path / "artifacts"))


def test_files_are_read_and_an_epoch_is_every_row(pairs: Path, tmp_path: Path) -> None:
    report = check(tmp_path, data={"path": str(pairs), "validation": str(pairs), "limit": 9}, epochs=2)
    assert report.data is not None
    assert (report.data.rows, report.data.held_out_rows, report.data.found) == (9, 9, "read")
    assert report.steps == 6  # 9 rows are batches of 4, 4 and 1, twice
    assert report.rows_per_pass == 4
    assert check(tmp_path, data={"path": str(pairs)}, max_steps=5).steps == 5
    dealt = check(tmp_path, data={"path": str(pairs)}, launch={"processes": 3})
    assert dealt.rows_per_pass == 2  # 4 rows dealt out to 3 processes
    assert [plan.sharded for plan in dealt.memory] == [False, True]


def test_a_bad_row_is_named_as_training_would_name_it(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.jsonl", [*PAIRS, {"prompt": "p", "chosen": "yes"}])
    with pytest.raises(InvalidInput, match=r"bad.jsonl, line 11, field 'rejected': missing"):
        check(tmp_path, data={"path": str(bad)})
    skipped = check(tmp_path, data={"path": str(bad), "on_bad_row": "skip"})
    assert skipped.unchecked[0].startswith("skipped 1 of 11 rows")


def test_single_judged_responses_are_for_kto_alone(tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.jsonl", [{"prompt": "p", "response": "r", "label": True}])
    with pytest.raises(InvalidInput, match="use objective kto"):
        check(tmp_path, data={"path": str(judged)})
    assert check(tmp_path, data={"path": str(judged)}, objective={"kind": "kto"}).steps == 1


def test_what_cannot_be_known_is_said(tmp_path: Path, pairs: Path) -> None:
    unknown = check(tmp_path, data={"path": "somebody/data"}, policy={"path": "somebody/model"})
    assert (unknown.steps, unknown.network, unknown.memory) == (None, None, ())
    assert unknown.unchecked[0] == "data: somebody/data, split train, is on the hub and not known here"
    assert unknown.unchecked[-1].startswith("memory: somebody/model is no artifact here, and the shape of a hub model")
    with pytest.raises(NotFound, match="no such model directory"):
        check(tmp_path, data={"path": str(pairs)}, policy={"path": "./nowhere"})


@pytest.mark.parametrize("kind", ["directory", "artifact"])
def test_a_shape_is_read_from_a_configuration_without_its_weights(kind: str, tmp_path: Path, pairs: Path) -> None:
    policy, _ = PolicyOrigin(scratch=Scratch(**SHAPE)).open(ArtifactStore(tmp_path), seed=0)
    directory = tmp_path / ("model" if kind == "directory" else "artifacts/mine/1")
    directory.mkdir(parents=True)
    policy.model.config.save_pretrained(directory)
    path = str(directory)
    if kind == "artifact":
        path = "mine"
        manifest = {"kind": "policy", "name": "mine", "version": 1, "created_at": "2026-01-01T00:00:00Z", "job": None}
        rest = {"recipe": {}, "recipe_digest": "", "parents": [], "data_digest": None, "code_version": "0"}
        (directory / "manifest.json").write_text(
            json.dumps({**manifest, **rest, "metrics": {}, "details": {}, "probes": [], "files": {}})
        )
    report = check(tmp_path, data={"path": str(pairs)}, policy={"path": path})
    assert report.network is not None
    assert report.network.parameters == sum(parameter.numel() for parameter in policy.model.parameters())


@pytest.mark.parametrize(
    ("change", "copies"),
    [
        ({}, 1),
        ({"objective": {"kind": "simpo"}}, 0),
        ({"reference": "precomputed"}, 0),
        ({"policy": {"scratch": SHAPE, "lora": {"rank": 2}}}, 0),
        ({"policy": {"scratch": SHAPE, "lora": {"rank": 2}}, "reference": "copy"}, 1),
        ({"kind": "ganpo", "objective": {"kind": "simpo"}, "adversarial": {"discriminator": {"kind": "mse"}}}, 1),
    ],
)
def test_a_reference_takes_memory_where_something_compares_with_a_copy(
    change: dict[str, Any], copies: int, tmp_path: Path, pairs: Path
) -> None:
    report = check(tmp_path, data={"path": str(pairs)}, **change)
    assert report.network is not None
    assert report.memory[0].estimate.reference == copies * 4 * report.network.parameters


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "sft", "policy": {"scratch": SHAPE}},
        {"kind": "reward_model", "backbone": {"scratch": SHAPE, "match_features": True}},
        {"kind": "discriminator", "reference": {"scratch": SHAPE}, "loss": "bradley_terry"},
    ],
)
def test_every_kind_of_training_has_a_dry_run(fields: dict[str, Any], tmp_path: Path) -> None:
    data = {"kind": "product_world", "size": 40, "validation_size": 3}
    recipe = parse_recipe({"name": "mine", "data": data, "batch": {"size": 16}, **fields})
    report = dry_run(recipe, ArtifactStore(tmp_path / "artifacts"))
    assert report.steps == 3
    assert bool(report.memory) == (fields["kind"] != "discriminator")
    assert any(sentence.startswith("memory: no estimate") for sentence in report.unchecked) != bool(report.memory)


@pytest.mark.parametrize("policy", [{"scratch": SHAPE}, {"scratch": SHAPE, "lora": {"rank": 2}}])
def test_what_a_job_needs_is_weights_gradients_and_moments_and_no_row_is_read_for_it(
    policy: dict[str, Any], tmp_path: Path, pairs: Path
) -> None:
    content = {"kind": "preference", "name": "mine", "policy": policy, "batch": {"size": 128}}
    store = ArtifactStore(tmp_path / "artifacts")
    network = check(tmp_path, data={"path": str(pairs)}, policy=policy).network
    assert network is not None
    absent = {**content, "data": {"path": str(tmp_path / "absent.jsonl")}}
    # 4 bytes a weight and 12 a trained one, however many rows a pass has
    assert memory_needed(parse_recipe(absent), store) == 4 * network.parameters + 12 * network.trained
    unknown = {**absent, "policy": {"path": "owner/unknown"}}
    assert memory_needed(parse_recipe(unknown), store) is None


def test_a_reward_model_that_is_told_to_read_less_needs_less(tmp_path: Path) -> None:
    def activations(**told: int) -> int:
        data = {"kind": "product_world", "size": 40, "max_prompt_tokens": 40, "max_response_tokens": 24}
        backbone = {"scratch": SHAPE, "match_features": True, **told}
        recipe = parse_recipe({"kind": "reward_model", "name": "mine", "data": data, "backbone": backbone})
        return dry_run(recipe, ArtifactStore(tmp_path / "artifacts")).memory[0].activations_kept

    assert activations(max_tokens=64) == activations()
    assert 1 / 4 < activations(max_tokens=32) / activations() < 1 / 2  # between linear in the length and quadratic


def test_the_command_prints_it_and_leaves_no_trace(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    recipe = write(tmp_path / "recipe.yaml", [])
    recipe.write_text(
        f"{{kind: sft, name: mine, policy: {{scratch: {SHAPE}}}, data: {{path: {pairs}}}}}".replace("'", "")
    )
    assert main([str(recipe), "--dry-run"]) == 2  # the rows are preferences
    assert "field 'response': missing" in capsys.readouterr().err
    assert main([str(recipe), "kind=preference", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "steps     1 of 128 rows" in said
    assert "reference" in said
    assert sorted(tmp_path.rglob("*")) == sorted([*before, recipe])


def test_a_table_names_every_part_and_what_was_not_checked(tmp_path: Path, pairs: Path) -> None:
    console = Console(record=True, width=160, highlight=False)
    report = check(tmp_path, data={"path": str(pairs)}, launch={"processes": 2})
    print_dry_run(report, console)
    said = console.export_text()
    for word in ("10 rows read", "weights", "optimizer", "replicated", "sharded over 2 (FSDP)", "not checked: lengths"):
        assert word in said


def test_a_world_too_large_to_be_made_here_is_counted_at_once(tmp_path: Path) -> None:
    report = check(tmp_path, data={"kind": "product_world", "size": 10_000_000, "validation_size": 8})
    assert report.data is not None
    assert (report.data.rows, report.data.held_out_rows, report.data.found) == (10_000_000, 8, "known")
    assert report.steps == 2_500_000  # batches of 4
    assert report.unchecked[0] == "data: more than 20,000 rows are made when it runs, not here"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("/data/size", 10**12),
        ("/data/validation_size", 10**12),
        ("/data/levels", []),
        ("/policy/scratch/layers", 10**6),  # a million modules are minutes, and memory, of whoever builds them
        ("/policy/scratch/hidden_size", 10**9),
        ("/policy/scratch/max_tokens", 10**9),
        ("/batch/size", 10**15),
        ("/batch/micro", 10**15),
        ("/policy/lora/rank", 10**15),
        ("/adversarial/discriminator/width", 10**15),
        ("/adversarial/discriminator/layers", 10**6),
        ("/adversarial/discriminator/positions", 10**15),
    ],
)
def test_numbers_that_nobody_could_train_with_are_refused_before_anything_is_built(field: str, value: object) -> None:
    content: dict[str, Any] = {
        "kind": "ganpo",
        "name": "mine",
        "policy": {"scratch": dict(SHAPE), "lora": {}},
        "data": {"kind": "product_world", "size": 8},
        "adversarial": {"discriminator": {"kind": "transformer"}},
        "batch": {"size": 4},
    }
    parse_recipe(content)
    *parents, last = field.strip("/").split("/")
    inner = content
    for name in parents:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(InvalidInput, match=f"recipe at {field}: "):
        parse_recipe(content)

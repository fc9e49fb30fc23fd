"""Preference recipes and GANPO over every objective, and every way to keep the reference."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from tests.trained import metrics_of, weights
from trainer.artifacts import ArtifactStore
from trainer.checkpoints import Checkpoints
from trainer.errors import InvalidInput, Stopped
from trainer.models.loading import load_pair_model
from trainer.models.outputs import COMPARED_OUTPUTS, POLICY_OUTPUTS
from trainer.models.precomputed_reference import PrecomputedReference
from trainer.models.reference import AdaptersOff, FrozenCopy
from trainer.recipe import Run
from trainer.recipes import parse_recipe
from trainer.recipes.encoding import encode_preferences
from trainer.recipes.preference import make_reference
from trainer.reporting import STOP_FILE, Reporter, read_events
from trainer.run import run_recipe

COMMON: dict[str, Any] = {
    "policy": {"path": "base"},
    "data": {"kind": "product_world", "size": 32, "validation_size": 8},
    "batch": {"size": 8, "micro": 3},
    "max_steps": 4,
    "checkpoint": {"every_steps": 1},
    "optimizer": {"learning_rate": 1e-3},
}
KINDS = ("dpo", "simpo", "ipo", "kto", "orpo")
SMALL = {"discriminator": {"kind": "mlp", "width": 8}}


def recipe(name: str, **changes: Any) -> Any:
    return parse_recipe({**COMMON, "kind": "preference", "name": name, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    root = tmp_path_factory.mktemp("preference")
    store = ArtifactStore(root / "artifacts")
    shape = {"scratch": {"hidden_size": 32, "layers": 2, "heads": 2}}
    run_recipe(
        parse_recipe({**COMMON, "kind": "sft", "name": "base", "policy": shape}), root / "base", store, quiet=True
    )
    return store


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three good responses and nine bad ones, in words the base policy knows."""
    path = tmp_path_factory.mktemp("judged") / "rows.jsonl"
    rows = [
        {"prompt": f"product {product}", "response": f"color is {color} .", "label": color == "red"}
        for product in ("mug", "lamp", "bag")
        for color in ("red", "blue", "green", "black")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regularised", [False, True], ids=["alone", "ganpo"])
def test_every_objective_trains_publishes_and_is_measured(
    kind: str, regularised: bool, store: ArtifactStore, tmp_path: Path
) -> None:
    extra = {"kind": "ganpo", "adversarial": SMALL} if regularised else {}
    result = run_recipe(
        recipe(f"trained-{kind}", objective={"kind": kind}, **extra), tmp_path / "run", store, quiet=True
    )
    metrics = metrics_of(tmp_path / "run")
    named = {"loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"}
    assert len(metrics) == 4
    assert all(named <= values.keys() for values in metrics)
    assert {f"held_out/{name}" for name in named} <= result["metrics"].keys()
    assert ("adversarial_loss" in metrics[0]) == regularised
    assert result["artifacts"].keys() == ({"policy", "discriminator"} if regularised else {"policy"})
    policy = store.open(result["artifacts"]["policy"])
    compared = kind in ("dpo", "ipo", "kto")  # the others' reward is a log-probability, whatever the reference
    outputs = COMPARED_OUTPUTS if compared else POLICY_OUTPUTS
    assert load_pair_model(policy, store, torch.device("cpu")).outputs == outputs
    assert ("beta" in policy.manifest.details) == compared
    assert [parent.role for parent in policy.manifest.parents] == ["reference" if compared else "initial"]
    for reference in result["artifacts"].values():
        load_pair_model(store.open(reference), store, torch.device("cpu"))  # its probes score as published


def test_singly_judged_responses_train_with_kto_and_with_ganpo_over_it(
    judged: str, store: ArtifactStore, tmp_path: Path
) -> None:
    data = {"kind": "file", "path": judged, "validation": judged}
    for name, extra in {"kto": {}, "ganpo-kto": {"kind": "ganpo", "adversarial": SMALL}}.items():
        made = recipe(name, data=data, batch={"size": 6, "micro": 1}, objective={"kind": "kto"}, **extra)
        result = run_recipe(made, tmp_path / name, store, quiet=True)
        assert all(torch.isfinite(tensor).all() for tensor in weights(store, result["artifacts"]["policy"]).values())
        assert "held_out/rewards/accuracies" not in result["metrics"]
        assert result["metrics"]["held_out/rewards/margins"] == pytest.approx(
            result["metrics"]["held_out/rewards/chosen"] - result["metrics"]["held_out/rewards/rejected"]
        )


@pytest.mark.parametrize("kind", ["dpo", "simpo", "ipo", "orpo"])
def test_objectives_on_pairs_refuse_singly_judged_responses_at_once(
    kind: str, judged: str, store: ArtifactStore, tmp_path: Path
) -> None:
    made = recipe("refused", data={"kind": "file", "path": judged}, objective={"kind": kind})
    with pytest.raises(InvalidInput, match="compares two") as caught:
        run_recipe(made, tmp_path / "run", store, quiet=True)
    assert "\n" not in caught.value.detail
    assert metrics_of(tmp_path / "run") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"kind": "kto"}},
        {"kind": "ganpo", "adversarial": SMALL},
        {"kind": "ganpo", "adversarial": SMALL, "objective": {"kind": "simpo", "beta": 2.0}},
        {
            "kind": "ganpo",
            "adversarial": {**SMALL, "mask": "prompt_and_response"},
            "policy": {"path": "base", "lora": {}},
        },
    ],
    ids=["kto", "ganpo", "ganpo_simpo", "ganpo_lora"],
)
def test_a_precomputed_reference_trains_the_same_policy(
    changes: dict[str, Any], store: ArtifactStore, tmp_path: Path
) -> None:
    made = {}
    for reference in ("copy", "precomputed"):
        each = recipe(f"with-{reference}", reference=reference, **changes)
        made[reference] = run_recipe(each, tmp_path / reference, store, quiet=True)
    assert not (tmp_path / "precomputed" / "reference").exists()
    copied, stored = (metrics_of(tmp_path / reference) for reference in made)
    for ours, theirs in zip(stored, copied, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"step_seconds"}:
            if "auc" not in name and "accuracies" not in name:  # the first step's are of ties, which rounding breaks
                assert ours[name] == pytest.approx(theirs[name], abs=1e-3, rel=1e-3), name
    said = [event["text"] for event in read_events(tmp_path / "precomputed") if event["type"] == "message"]
    assert any("bytes in" in text for text in said)


def test_prompts_read_once_train_the_same_policy(store: ArtifactStore, tmp_path: Path) -> None:
    for share in (False, True):
        each = recipe(f"share-{share}", share_prompts=share, kind="ganpo", adversarial=SMALL)
        run_recipe(each, tmp_path / str(share), store, quiet=True)
    for ours, theirs in zip(metrics_of(tmp_path / "True"), metrics_of(tmp_path / "False"), strict=True):
        for name in ("loss", "rewards/chosen", "grad_norm"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-3, rel=1e-3), name


def test_a_lora_policy_is_its_own_reference(store: ArtifactStore, tmp_path: Path) -> None:
    policy = {"path": "base", "lora": {"rank": 4}}
    made = {
        reference: run_recipe(
            recipe(f"lora-{reference}", policy=policy, reference=reference), tmp_path / reference, store, quiet=True
        )
        for reference in ("auto", "copy")
    }
    for ours, theirs in zip(metrics_of(tmp_path / "auto"), metrics_of(tmp_path / "copy"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours["rewards/margins"] == pytest.approx(theirs["rewards/margins"], abs=1e-4)
    assert abs(metrics_of(tmp_path / "auto")[-1]["rewards/margins"]) > 1e-4  # it did move
    assert made["auto"]["metrics"] == pytest.approx(made["copy"]["metrics"], abs=1e-4)


class Stopping(Reporter):
    """Asks for a stop when a stage has come so far."""

    def __init__(self, directory: Path, stage: str, at: int) -> None:
        super().__init__(directory, title="stopping", quiet=True)
        self.stage, self.at = stage, at

    def progress(self, stage: str, done: int, total: int, **named: Any) -> None:
        super().progress(stage, done, total, **named)
        if (stage, done) == (self.stage, self.at):
            (self.directory / STOP_FILE).touch()


def test_a_run_stopped_while_precomputing_and_while_training_ends_as_if_it_had_not_been(
    store: ArtifactStore, tmp_path: Path
) -> None:
    made = recipe("stopped", reference="precomputed", kind="ganpo", adversarial=SMALL, objective={"kind": "kto"})
    directory = tmp_path / "stopped"
    for stage, at in (("reference", 2), ("train", 2)):
        with Stopping(directory, stage, at) as reporter, pytest.raises(Stopped, match="continues from there"):
            made.run(Run("stopped", directory, store, reporter))
        (directory / STOP_FILE).unlink()
    done = (directory / "reference" / "done").read_bytes()
    assert set(done) == {1}
    with Reporter(directory, title="resumed", quiet=True) as reporter:
        resumed = made.run(Run("stopped", directory, store, reporter))["artifacts"]
    straight = run_recipe(made, tmp_path / "straight", store, quiet=True)["artifacts"]
    for role in ("policy", "discriminator"):
        ours, theirs = weights(store, resumed[role]), weights(store, straight[role])
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_killed_before_its_result_is_written_precomputes_nothing_again(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe("killed", reference="precomputed")
    with monkeypatch.context() as patch:
        patch.setattr("trainer.run._finish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(made, tmp_path, store, quiet=True)
    assert set((tmp_path / "reference" / "done").read_bytes()) == {1}
    run_recipe(made, tmp_path, store, quiet=True)
    assert not (tmp_path / "reference").exists()


@pytest.mark.parametrize("micro", [16, 4, 1])
def test_discriminators_step_as_often_as_the_policy_at_accumulation_1_4_and_16(
    micro: int, store: ArtifactStore, tmp_path: Path
) -> None:
    made = recipe("counted", kind="ganpo", adversarial=SMALL, batch={"size": 16, "micro": micro})
    with Stopping(tmp_path, "train", 2) as reporter, pytest.raises(Stopped):  # after the step under way
        made.run(Run("counted", tmp_path, store, reporter))
    state = Checkpoints(tmp_path).latest()
    assert state is not None
    for optimizer in (state["optimizer"], state["learner"]["optimizer"]):
        assert {int(entry["step"]) for entry in optimizer["state"].values()} == {3}


def test_simpo_from_a_directory_keeps_no_reference_anywhere(store: ArtifactStore, tmp_path: Path) -> None:
    path = str(store.open("base").path)
    made = recipe("alone", policy={"path": path}, objective={"kind": "simpo"})
    result = run_recipe(made, tmp_path / "run", store, quiet=True)
    assert store.open(result["artifacts"]["policy"]).manifest.parents == []
    assert store.versions("alone/reference") == []


@pytest.mark.parametrize(
    ("policy", "reference", "expected"),
    [
        ({"dtype": "float32"}, "auto", FrozenCopy),
        ({"dtype": "bfloat16"}, "auto", FrozenCopy),
        ({"lora": {}}, "auto", AdaptersOff),
        ({"lora": {}, "dtype": "bfloat16"}, "copy", FrozenCopy),
        ({"dtype": "bfloat16"}, "precomputed", PrecomputedReference),
    ],
)
def test_the_reference_is_what_was_asked_for_in_the_type_that_training_computes_in(
    policy: dict[str, Any], reference: str, expected: type, store: ArtifactStore, tmp_path: Path
) -> None:
    made = recipe("any", policy={"path": "base", **policy}, reference=reference)
    opened, _ = made.policy.open(store, seed=0)
    with Reporter(tmp_path / "run", title="any", quiet=True) as reporter:
        run = Run("any", tmp_path / "run", store, reporter)
        encoded = encode_preferences(opened, made.data.preferences()[:4], made.data, run)
        found = make_reference(made, opened, encoded, [], "response", run)
    assert type(found) is expected
    dtype = getattr(torch, policy.get("dtype", "float32"))
    if isinstance(found, FrozenCopy):
        assert {parameter.dtype for parameter in found.policy.model.parameters()} == {dtype}
    elif isinstance(found, PrecomputedReference):
        assert found.dtype == dtype
        assert not found.latents.flags.writeable


def test_what_computes_in_bfloat16_is_compared_in_bfloat16(store: ArtifactStore, tmp_path: Path) -> None:
    made = recipe("half", policy={"path": "base", "dtype": "bfloat16"}, kind="ganpo", adversarial=SMALL)
    result = run_recipe(made, tmp_path / "run", store, quiet=True)
    first = metrics_of(tmp_path / "run")[0]
    assert abs(first["rewards/chosen"]) < 0.05  # the same policy twice, both rounded
    for reference in result["artifacts"].values():
        load_pair_model(store.open(reference), store, torch.device("cpu"))

"""`assay artifacts` lists, verifies, imports and deletes what is published."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.cli import main
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact
from trainer.validation_scores import read_validation_scores

Publish = Callable[..., Artifact]


@pytest.fixture
def store(tmp_path: Path, publish: Publish, installation: str) -> ArtifactStore:
    """One artifact, ``mine@1``, in a directory that the command works on."""
    store = ArtifactStore(tmp_path / "artifacts")
    publish(store, "mine", seed=1)
    return store


def test_a_list_names_every_artifact_and_its_manifest_can_be_shown(
    store: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["artifacts", "list"]) == 0
    assert "mine@1" in capsys.readouterr().out

    assert main(["artifacts", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["data"]
    assert (listed["name"], listed["version"], listed["kind"]) == ("mine", 1, "reward_model")

    assert main(["artifacts", "list", "--kind", "policy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": []}

    assert main(["artifacts", "show", "mine"]) == 0
    assert json.loads(capsys.readouterr().out)["details"]["architecture"] == "encoder"


def test_a_changed_file_is_found_and_named(store: ArtifactStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["artifacts", "verify"]) == 0
    assert capsys.readouterr().out == "mine@1 is as published\n"

    (store.open("mine").path / "config.json").write_text("{}")

    assert main(["artifacts", "verify", "mine@1"]) == 2
    assert "mine@1: config.json was changed" in capsys.readouterr().out
    assert main(["artifacts", "verify", "--json"]) == 2
    [found] = json.loads(capsys.readouterr().out)["data"]
    assert (found["artifact"], found["problem"]) == (
        "mine@1",
        "mine@1: config.json was changed after publishing; import it again",
    )


def test_an_artifact_whose_manifest_cannot_be_read_is_not_passed_over(
    store: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.open("mine").path / "manifest.json").write_text("{")

    assert main(["artifacts", "verify"]) == 2
    said = capsys.readouterr()
    assert "mine/1/manifest.json is not a manifest" in said.out
    assert said.err.startswith("assay: 1 of these artifacts")


def test_a_published_directory_is_imported_with_all_its_manifest_says(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = shutil.copytree(store.open("mine").path, tmp_path / "elsewhere")

    assert main(["artifacts", "import", str(elsewhere), "theirs"]) == 0
    assert capsys.readouterr() == ("theirs@1\n", "")
    original, imported = store.open("mine").manifest, store.open("theirs").manifest
    assert imported.files == original.files
    assert imported.probes == original.probes
    assert imported.details == original.details


def test_hugging_face_files_are_imported_once_it_is_said_what_they_are(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = shutil.copytree(store.open("mine").path, tmp_path / "plain")
    (plain / "manifest.json").unlink()

    assert main(["artifacts", "import", str(plain), "theirs"]) == 2
    assert "--kind reward_model --architecture encoder|decoder" in capsys.readouterr().err
    assert (
        main(["artifacts", "import", str(plain), "theirs", "--kind", "reward_model", "--architecture", "encoder"]) == 0
    )
    assert store.open("theirs").manifest.kind == "reward_model"
    assert main(["artifacts", "verify", "theirs"]) == 0


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


ROWS = [
    {"prompt": "product lamp", "chosen": "The lamp is red .", "rejected": "A cup ."},
    {"prompt": "product cup", "response": "It is blue ."},
    {"prompt": "product mug", "response": "It is tiny .", "label": False},
]


def test_responses_of_any_layout_are_scored_for_what_is_imported_to_carry(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = store.open("mine")
    plain = shutil.copytree(original.path, tmp_path / "plain")
    (plain / "manifest.json").unlink()
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    described = ["--kind", "reward_model", "--architecture", "encoder"]
    for source, name, more in ((plain, "hub", described), (original.path, "again", [])):
        assert main(["artifacts", "import", str(source), name, *more, "--validation", rows]) == 0
        imported = store.open(name)
        imported.verify()
        scores = read_validation_scores(imported)
        assert scores is not None
        assert sorted(scores.characters) == [7, 12, 12, 17]
        assert sorted(scores.prompt.count(number) for number in set(scores.prompt)) == [1, 1, 2]
        capsys.readouterr()

        pairs = write_rows(tmp_path / "pairs.jsonl", [{"prompt": "product lamp", "response": "A cup ."}])
        assert main(["score", pairs, "--scorer", name]) == 0
        served = json.loads(capsys.readouterr().out)["scores"][0][name]["score"]
        assert scores.scores["score"][scores.characters.index(7)] == pytest.approx(served, abs=1e-4)
    assert read_validation_scores(original) is None, "the older version is as it was"
    shutil.copytree(store.open("again").path, tmp_path / "carrying")
    assert main(["artifacts", "import", str(tmp_path / "carrying"), "kept"]) == 0
    assert read_validation_scores(store.open("kept")) == scores


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "product lamp", "response": "It is blue ."}], "two prompts or more"),
        ([{"prompt": "product lamp"}], "field 'response': missing"),
        ([], "has no rows"),
    ],
)
def test_validation_rows_that_cannot_be_compared_with_publish_nothing(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], said: str
) -> None:
    file = write_rows(tmp_path / "rows.jsonl", rows)
    assert main(["artifacts", "import", str(store.open("mine").path), "again", "--validation", file]) == 2
    assert said in capsys.readouterr().err
    assert [artifact.reference for artifact in store.all()] == ["mine@1"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"), "is a pickle"),
        (lambda path: (path / "model.safetensors").unlink(), "no .safetensors weights"),
        (shutil.rmtree, "no such directory"),
    ],
    ids=["pickle", "no weights", "no directory"],
)
def test_what_cannot_be_served_is_not_imported(
    store: ArtifactStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    words: str,
) -> None:
    plain = shutil.copytree(store.open("mine").path, tmp_path / "plain")
    (plain / "manifest.json").unlink()
    spoil(plain)

    assert main(["artifacts", "import", str(plain), "theirs", "--kind", "policy"]) == 2
    assert words in capsys.readouterr().err
    assert [artifact.reference for artifact in store.all()] == ["mine@1"]


def without_head(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("classifier.")}


def with_two_labels(weights: dict[str, Any]) -> dict[str, Any]:
    return weights | {
        name: weights[name].repeat(2, *[1] * (weights[name].dim() - 1)) for name in weights if "classifier." in name
    }


@pytest.mark.parametrize(
    ("change", "labels", "words"),
    [
        (without_head, 1, "its weights lack classifier.bias, which would be random"),
        (with_two_labels, 2, "classifies into 2 labels; a reward model has one score"),
    ],
)
def test_a_classifier_that_gives_no_single_trained_score_is_no_reward_model(
    store: ArtifactStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], dict[str, Any]],
    labels: int,
    words: str,
) -> None:
    from safetensors.torch import load_file, save_file

    plain = shutil.copytree(store.open("mine").path, tmp_path / "plain")
    (plain / "manifest.json").unlink()
    save_file(change(load_file(plain / "model.safetensors")), plain / "model.safetensors", {"format": "pt"})
    config = json.loads((plain / "config.json").read_text())
    config["id2label"] = {str(label): f"L{label}" for label in range(labels)}
    config["label2id"] = {f"L{label}": label for label in range(labels)}
    (plain / "config.json").write_text(json.dumps(config))

    told = ["--kind", "reward_model", "--architecture", "encoder"]
    assert main(["artifacts", "import", str(plain), "theirs", *told]) == 2
    assert words in capsys.readouterr().err
    assert [artifact.reference for artifact in store.all()] == ["mine@1"]


def test_a_model_of_the_hub_is_imported_from_its_cache_and_its_commit_is_recorded(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = tmp_path / "hub/models--owner--helpful"
    shutil.copytree(store.open("mine").path, model / "snapshots" / commit)
    (model / "snapshots" / commit / "manifest.json").unlink()
    (model / "refs").mkdir()
    (model / "refs/main").write_text(commit)
    told = ["--kind", "reward_model", "--architecture", "encoder"]

    assert main(["artifacts", "import", "owner/helpful", "theirs", *told]) == 0
    assert store.open("theirs").manifest.recipe == {"kind": "import", "source": f"owner/helpful@{commit}"}
    assert main(["artifacts", "import", "owner/unheard-of", "theirs", *told]) == 2
    assert "check the name" in capsys.readouterr().err


def test_an_alias_is_made_moved_listed_and_removed(
    store: ArtifactStore, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(store, "mine", seed=2)

    assert main(["artifacts", "alias", "mine@champion", "1"]) == 0
    assert main(["artifacts", "alias", "mine@champion", "2"]) == 0
    assert "mine@champion means mine@2 since" in capsys.readouterr().out
    assert main(["artifacts", "alias", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["data"]
    assert (listed["name"], listed["alias"], listed["version"]) == ("mine", "champion", 2)

    assert main(["artifacts", "delete", "mine@2"]) == 2
    assert "mine@champion means mine@2; point it elsewhere" in capsys.readouterr().err
    assert main(["artifacts", "alias", "mine@champion", "--delete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": []}
    assert main(["artifacts", "delete", "mine@2"]) == 0


@pytest.mark.parametrize(
    "words",
    [["mine@champion"], ["mine@champion", "1", "--delete"], ["mine", "1"], ["mine@champion", "7"], ["--delete"]],
)
def test_an_alias_that_is_not_said_in_full_changes_nothing(
    store: ArtifactStore, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["artifacts", "alias", *words]) == 2
    assert main(["artifacts", "alias", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": []}


def test_a_version_is_deleted_and_only_a_version(store: ArtifactStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["artifacts", "delete", "mine"]) == 2
    assert main(["artifacts", "delete", "mine@1"]) == 0
    assert store.all() == []
    capsys.readouterr()

    assert main(["artifacts", "list"]) == 0
    assert "nothing is published" in capsys.readouterr().err


def test_an_encoder_is_published_again_in_8_bits_under_a_name_that_nobody_asks_for_yet(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"prompt": f"a {color} mug", "responses": ["It is red .", "It is blue ."]} for color in ("red", "blue")]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert main(["artifacts", "quantize", "mine", "--pairs", str(pairs), "--max-error", "1"]) == 0

    said = capsys.readouterr()
    assert said.out == "mine-int8@1\n"
    metrics = store.open("mine-int8").manifest.metrics
    assert metrics["quantisation/pairs"] == 4
    assert f"on 4 pairs ({pairs}) scores differ by {metrics['quantisation/error/mean']:.2g} on average" in said.err
    assert f"and {metrics['quantisation/error/max']:.2g} at most; Spearman" in said.err
    assert f"{metrics['quantisation/flips']:.2%} of 2 orders within prompts turn" in said.err
    assert store.open("mine").reference == "mine@1"

    assert main(["score", str(pairs), "--scorer", "mine-int8"]) == 0
    scored = capsys.readouterr()
    assert len(scored.out.splitlines()) == 2
    assert "mine-int8 is mine-int8@1" in scored.err

    assert (
        main(["artifacts", "quantize", "mine", "--pairs", str(pairs), "--as", "mine", "--max-error", "1", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["version"], told["metrics"]["quantisation/pairs"]) == ("mine", 2, 4)


def test_a_model_that_moves_too_far_in_8_bits_is_not_published(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["artifacts", "quantize", "mine"]) == 2
    assert "mine@1 scores the 1 of probe pairs alike" in capsys.readouterr().err

    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "a red mug", "responses": ["It is red .", "It is blue ."]}\n')
    assert main(["artifacts", "quantize", "mine", "--pairs", str(pairs), "--max-error", "0"]) == 2
    assert "standard deviations away on average, more than 0" in capsys.readouterr().err
    assert store.names() == ["mine"]

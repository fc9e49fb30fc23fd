"""A stress test keeps everything it sampled, scores all of it, and continues where it was stopped."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluation.recipes import parse_recipe
from evaluation.recipes.stress_test import StressTestRecipe
from evaluation.scorers.controls import CONTROLS
from trainer.artifacts import ArtifactStore
from trainer.data.product_world import Task, gold
from trainer.errors import AssayError, InvalidInput, NotFound, OverlongInput, Stopped
from trainer.recipe import Run
from trainer.reporting import STOP_FILE, Reporter, read_events
from trainer.run import run_recipe

FILES = ("prompts.jsonl", "responses.jsonl", "scores.jsonl", "correlations.jsonl", "curves.jsonl", "comparisons.jsonl")
RECIPE: dict[str, Any] = {
    "kind": "stress_test",
    "name": "tiny",
    "policy": {"path": "policy"},
    "prompts": {"kind": "product_world", "limit": 8},
    "temperatures": [0, 1.0, 2.0],
    "responses_per_prompt": 6,
    "max_response_tokens": 16,
    "scorers": ["rm", "policy/discriminator:difference"],
    "oracles": [{"kind": "product_world"}, {"kind": "reward_model", "path": "policy/discriminator"}],
    "bootstrap": {"draws": 100},
}


def stress(**change: Any) -> StressTestRecipe:
    recipe = parse_recipe({**RECIPE, **change})
    assert isinstance(recipe, StressTestRecipe)
    return recipe


def rows(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, store: ArtifactStore) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, run_recipe(stress(), directory, store, quiet=True)


def test_the_summary_says_what_was_done(finished: tuple[Path, dict[str, Any]]) -> None:
    _, summary = finished

    assert summary == {
        "kind": "stress_test",
        "policy": "policy@2",
        "temperatures": [0.0, 1.0, 2.0],
        "n_prompts": 8,
        "n_responses": 8 * (1 + 6 + 6),
        "scorers": ["rm", "policy/discriminator:difference"],
        "controls": ["policy/discriminator:untrained", *CONTROLS],
        "oracles": ["product_world", "policy/discriminator:chosen"],
        "notices": [],
    }


def test_every_response_is_stored_with_how_it_was_sampled(finished: tuple[Path, dict[str, Any]]) -> None:
    responses = rows(finished[0], "responses.jsonl")

    assert Counter(row["temperature"] for row in responses) == {0.0: 8, 1.0: 48, 2.0: 48}
    assert len({(row["prompt_id"], row["temperature"], row["replicate"]) for row in responses}) == 104
    for row in responses:
        assert set(row) == {
            "prompt_id", "temperature", "replicate", "response", "tokens", "finish_reason", "mean_logprob", "sampler",
        }  # fmt: skip
        assert (row["sampler"]["top_p"], row["sampler"]["top_k"], row["sampler"]["min_p"]) == (1.0, 0, 0.0)
        assert row["tokens"] == 16 or row["finish_reason"] == "stop"


def test_every_response_has_every_score_or_the_reason_why_not(finished: tuple[Path, dict[str, Any]]) -> None:
    scores = rows(finished[0], "scores.jsonl")
    counts = Counter((row["scorer"], row["scorer_version"], row["role"]) for row in scores)

    assert counts == {
        ("rm", 1, "scorer"): 104,
        ("policy/discriminator:difference", 1, "scorer"): 104,
        **{(f"policy/discriminator:untrained_{seed}", 1, "control"): 104 for seed in range(10)},
        **{(name, None, "control"): 104 for name in CONTROLS},
        ("product_world", None, "oracle"): 104,
        ("policy/discriminator:chosen", 1, "oracle"): 104,
    }
    assert all((row["score"] is None) == (row["error"] is not None) for row in scores)
    tokens = {row["scorer"]: row["tokens"] for row in scores if row["score"] is not None}
    assert tokens["rm"] > 0
    assert tokens["length"] is None


def test_the_oracle_judges_the_stored_response_by_the_stored_task(finished: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = finished
    tasks = {row["prompt_id"]: Task.from_json(row["task"]) for row in rows(directory, "prompts.jsonl")}
    texts = {
        (row["prompt_id"], row["temperature"], row["replicate"]): row["response"]
        for row in rows(directory, "responses.jsonl")
    }
    judged = [row for row in rows(directory, "scores.jsonl") if row["scorer"] == "product_world"]

    assert len(judged) == 104
    for row in judged:
        text = texts[row["prompt_id"], row["temperature"], row["replicate"]]
        assert row["score"] == gold(tasks[row["prompt_id"]], text)


def test_empty_responses_are_kept_and_counted_where_a_scorer_could_not_score_them(
    store: ArtifactStore, tmp_path: Path
) -> None:
    # about one first token in fifty is a special one, which is no text
    summary = run_recipe(
        stress(temperatures=[2.0], responses_per_prompt=60, max_response_tokens=1), tmp_path, store, quiet=True
    )
    empty = [row for row in rows(tmp_path, "responses.jsonl") if not row["response"]]
    failed = [row for row in rows(tmp_path, "scores.jsonl") if row["scorer"] == "rm" and row["score"] is None]
    judged = [row for row in rows(tmp_path, "scores.jsonl") if row["scorer"] == "product_world"]
    pooled = [
        row
        for row in rows(tmp_path, "correlations.jsonl")
        if (row["scorer"], row["oracle"], row["statistic"], row["stratum"], row["temperature"])
        == ("rm", "product_world", "pearson_pooled", "all", None)
    ]

    assert 0 < len(empty) < 100
    assert len(failed) == len(empty)
    assert {row["error"]["code"] for row in failed} == {"invalid_input"}
    assert [row["n_dropped"] for row in pooled] == [len(empty)]
    assert None not in {row["score"] for row in judged}
    lacking = f"no score for {len(empty)} of 480 responses from"
    assert summary["notices"] == [
        f"{lacking} rm, policy/discriminator:difference, policy/discriminator:untrained, policy/discriminator:chosen"
        f" ({len(empty)} invalid_input)",
        f"{lacking} zlib_ratio ({len(empty)} undefined)",
    ]


def test_correlations_cover_every_scorer_oracle_and_temperature_and_their_union(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    correlations = rows(finished[0], "correlations.jsonl")
    pooled = [row for row in correlations if row["statistic"] == "pearson_pooled"]

    assert {(row["scorer"], row["oracle"], row["temperature"]) for row in pooled} == {
        (scorer, oracle, temperature)
        for scorer in ["rm", "policy/discriminator:difference", "policy/discriminator:untrained", *CONTROLS]
        for oracle in ["product_world", "policy/discriminator:chosen"]
        for temperature in [0.0, 1.0, 2.0, None]
    }
    assert {row["policy"] for row in correlations} == {"policy@2"}
    assert {row["scorer_version"] for row in correlations if row["scorer"] == "rm"} == {1}


def test_progress_is_told_by_stage(finished: tuple[Path, dict[str, Any]]) -> None:
    progress = [event for event in read_events(finished[0]) if event["type"] == "progress"]

    assert list(dict.fromkeys(event["stage"] for event in progress)) == ["sample", "score", "judge", "correlate"]
    assert {event["stage"]: (event["done"], event["total"]) for event in progress}["sample"] == (104, 104)


def test_the_same_recipe_gives_the_same_files_again(
    finished: tuple[Path, dict[str, Any]], store: ArtifactStore, tmp_path: Path
) -> None:
    summary = run_recipe(stress(), tmp_path / "again", store, quiet=True)

    assert summary == finished[1]
    for name in FILES:
        assert (tmp_path / "again" / name).read_text() == (finished[0] / name).read_text()


class StoppedOnceUnderWay(Reporter):
    """Is asked to stop once anything of a stage has been stored."""

    stage: str

    def progress(self, stage: str, done: int, total: int, **told: Any) -> None:
        super().progress(stage, done, total, **told)
        if stage == self.stage and done:
            (self.directory / STOP_FILE).touch()


def test_a_stop_is_honoured_within_each_stage_and_the_run_continues(
    finished: tuple[Path, dict[str, Any]], store: ArtifactStore, tmp_path: Path
) -> None:
    recipe = stress()
    for stage, name in (("sample", "responses.jsonl"), ("score", "scores.jsonl")):
        with StoppedOnceUnderWay(tmp_path, quiet=True) as reporter:
            reporter.stage = stage
            with pytest.raises(Stopped):
                recipe.run(Run("run", tmp_path, store, reporter))
        (tmp_path / STOP_FILE).unlink()
        assert rows(tmp_path, name), stage
        assert not (tmp_path / "correlations.jsonl").exists()
    with Reporter(tmp_path, quiet=True) as reporter:
        recipe.run(Run("run", tmp_path, store, reporter))

    for name in FILES:
        assert sorted(rows(tmp_path, name), key=str) == sorted(rows(finished[0], name), key=str)


def test_a_run_keeps_the_versions_it_began_with(store: ArtifactStore, tmp_path: Path) -> None:
    with Reporter(tmp_path, quiet=True) as reporter:
        run = Run("run", tmp_path, store, reporter)
        (tmp_path / "pins.json").write_text(json.dumps({"policy": "policy@1", "rm": "rm@1"}))
        summary = stress(scorers=["rm"], oracles=[{"kind": "product_world"}]).run(run)

    assert summary["policy"] == "policy@1"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"scorers": ["nobody"]}, NotFound, "no artifact nobody"),
        ({"scorers": ["rm@7"]}, NotFound, "no artifact rm@7"),
        ({"scorers": ["rm:difference"]}, InvalidInput, "it gives score"),
        ({"scorers": ["rm", "rm@1"]}, InvalidInput, "rm is named 2 times as scorer"),
        ({"oracles": [{"kind": "reward_model", "path": "nobody"}]}, NotFound, "no artifact nobody"),
        ({"oracles": [{"kind": "product_world"}] * 2}, InvalidInput, "product_world is named 2 times as oracle"),
        ({"policy": {"path": "nobody"}}, NotFound, "no artifact nobody"),
        ({"policy": {"path": "rm"}}, InvalidInput, "rm@1 is a reward_model, not a policy"),
        ({"max_response_tokens": 96}, OverlongInput, "the policy has room for 0"),
    ],
)
def test_what_cannot_work_fails_before_anything_is_sampled(
    store: ArtifactStore, tmp_path: Path, change: dict[str, Any], error: type[AssayError], words: str
) -> None:
    with pytest.raises(error, match=words):
        run_recipe(stress(**change), tmp_path / "run", store, quiet=True)

    responses = tmp_path / "run" / "responses.jsonl"
    assert not responses.exists() or responses.read_text() == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "has no prompts"), ('{"prompt": ""}\n', "line 1, prompt: the prompt is empty")],
)
def test_a_prompt_file_that_cannot_be_used_is_named(
    store: ArtifactStore, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "in.jsonl").write_text(content)

    with pytest.raises(InvalidInput, match=words):
        run_recipe(stress(prompts={"path": str(tmp_path / "in.jsonl")}), tmp_path / "run", store, quiet=True)


def test_prompts_of_a_file_need_no_product_world(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "product lamp"}\n{"prompt": "product bag"}\n')
    recipe = stress(
        prompts={"path": str(tmp_path / "in.jsonl")},
        scorers=["length", "policy:mean_logprob"],
        oracles=[{"kind": "reward_model", "path": "rm"}],
        temperatures=[1.5],
    )

    summary = run_recipe(recipe, tmp_path / "run", store, quiet=True)

    assert (summary["n_prompts"], summary["n_responses"]) == (2, 12)
    assert summary["scorers"] == ["policy:mean_logprob"]  # length is there anyway, as a control

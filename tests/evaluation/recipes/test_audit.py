"""Audits of judged responses: recorded scores, trivial controls, registered scorers, and bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from evaluation.recipes.audit import AuditRecipe
from evaluation.statistics.estimate import Estimate
from evaluation.verdict import verdict
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.rows import Pair
from trainer.errors import InvalidInput, NotFound
from trainer.models.loading import make_probes
from trainer.models.starting_point import BackboneOrigin, Scratch
from trainer.reporting import read_events
from trainer.run import run_recipe

REAL = Path("/work/shared/data/alpaca_eval_judged.jsonl.gz")

Summary = dict[str, Any]


def judged(prompts: int, k: int, **more: Any) -> list[dict[str, Any]]:
    """Rows whose recorded score follows the judge with noise, and whose responses grow with neither."""
    generator = np.random.default_rng(0)
    rows = []
    for prompt in range(prompts):
        for replicate in range(k):
            gold = float(generator.standard_normal())
            rows.append(
                {
                    "prompt_id": prompt,
                    "prompt": f"product lamp | color red | len {prompt}",
                    "response": "the color is red . " * int(generator.integers(1, 5)),
                    "clusters": {"policy": f"policy-{replicate % 3}"},
                    "scores": {"rm": gold + float(generator.standard_normal())},
                    "oracles": {"judge": gold},
                    **more,
                }
            )
    return rows


def audited(directory: Path, rows: list[dict[str, Any]], store: ArtifactStore | None = None, **fields: Any) -> Summary:
    path = directory / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = {"oracles": ["recorded:judge"], "bootstrap": {"draws": 200}, **fields}
    recipe = AuditRecipe.model_validate({"path": str(path), **fields})
    return run_recipe(recipe, directory / "run", store or ArtifactStore(directory / "artifacts"), quiet=True)


def found(summary: Summary, scorer: str, statistic: str, temperature: float | None = None) -> dict[str, Any]:
    [row] = [
        row
        for row in summary["estimates"]
        if (row["scorer"], row["statistic"], row["temperature"]) == (scorer, statistic, temperature)
        and row["stratum"] == "all"
    ]
    assert isinstance(row, dict)
    return row


def test_a_recorded_score_is_audited_and_compared_with_the_controls(tmp_path: Path) -> None:
    rows = judged(30, 4)
    summary = audited(tmp_path, rows, scorers=["recorded:rm"])
    expected = stats.pearsonr([row["scores"]["rm"] for row in rows], [row["oracles"]["judge"] for row in rows])[0]
    pooled = found(summary, "recorded:rm", "pearson_pooled")
    assert pooled["estimate"] == pytest.approx(expected)
    assert pooled["lower"] < expected < pooled["upper"]
    assert summary["scorers"] == ["recorded:rm", "length", "zlib_ratio"]  # the others are not recorded
    assert found(summary, "recorded:rm", "pearson_within_lead_over_length")["lower"] > 0
    assert (summary["n_prompts"], summary["n_responses"]) == (30, 120)


def test_the_run_directory_holds_an_estimate_a_line(tmp_path: Path) -> None:
    summary = audited(tmp_path, judged(10, 3), scorers=["recorded:rm"])
    lines = [json.loads(line) for line in (tmp_path / "run" / "correlations.jsonl").read_text().splitlines()]
    assert lines == summary["estimates"]
    assert lines
    for line in lines:
        assert (line.pop("scorer_version"), line.pop("policy")) == (None, None)
        Estimate(**line)


def test_recorded_temperatures_are_told_apart(tmp_path: Path) -> None:
    cold, hot = judged(10, 4, temperature=0.5), judged(10, 4, temperature=2)
    for row in hot:
        row["scores"] = {"rm": -row["oracles"]["judge"]}
    summary = audited(tmp_path, cold + hot, scorers=["recorded:rm"])
    assert summary["temperatures"] == [0.5, 2.0]
    assert found(summary, "recorded:rm", "pearson_within", 2.0)["estimate"] == pytest.approx(-1)
    assert found(summary, "recorded:rm", "pearson_within", 0.5)["estimate"] > 0.5
    assert found(summary, "recorded:rm", "pearson_within")["n_responses"] == 80


def test_who_asks_for_a_control_alone_gets_it_alone(tmp_path: Path) -> None:
    summary = audited(tmp_path, judged(10, 3), scorers=["length"])
    assert {row["scorer"] for row in summary["estimates"] if row["scorer"] != row["oracle"]} == {"length"}
    assert summary["comparisons"] == []


def test_a_second_cluster_is_a_column_of_the_rows(tmp_path: Path) -> None:
    summary = audited(tmp_path, judged(10, 6), scorers=["recorded:rm"], cluster="policy")
    assert "second clusters" in found(summary, "recorded:rm", "pearson_within")["method"]


def test_a_registered_scorer_is_asked_and_what_it_cannot_score_is_counted(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    model, _ = BackboneOrigin(scratch=Scratch(hidden_size=8, layers=1, heads=1, max_tokens=40)).open(store, 0)
    model.model.eval()
    pairs = [Pair("product lamp | color red", "the color is red .")]
    contents = Contents(
        "reward_model", {}, "0" * 64, {}, {**model.details(), "calibration": None}, make_probes(model, pairs), []
    )
    store.publish("tiny", contents, model.save)
    rows = judged(6, 3)
    rows[4]["response"] = ""
    rows[5]["response"] = "the color is red . " * 20
    rows[6]["response"] = "half a \ud83d pair"
    rows[7]["prompt"] = "product \udc00"
    summary = audited(tmp_path, rows, store, scorers=["tiny@1:score"])
    pooled = found(summary, "tiny@1:score", "pearson_pooled")
    with_text = [row for index, row in enumerate(rows) if index not in (4, 5, 6, 7)]
    scores = [float(model.score([model.encode(row["prompt"], row["response"])])) for row in with_text]
    assert pooled["estimate"] == pytest.approx(
        stats.pearsonr(scores, [row["oracles"]["judge"] for row in with_text])[0], abs=1e-4
    )
    assert (pooled["n_dropped"], pooled["scorer_version"]) == (4, 1)
    assert summary["notices"] == [
        "tiny@1:score could not score 4 of 18 responses; the first: line 5: the response is empty"
    ]
    assert any(event["type"] == "progress" for event in read_events(tmp_path / "run"))


@pytest.mark.parametrize("named", ["policy/discriminator:chosen", "policy/discriminator"])
def test_a_discriminator_is_audited_beside_its_untrained_twins(
    tmp_path: Path, store: ArtifactStore, pairs: list[Pair], named: str
) -> None:
    generator = np.random.default_rng(0)
    rows = [
        {"prompt_id": i, "prompt": each.prompt, "response": other.response, "oracles": {"judge": generator.random()}}
        for i, each in enumerate(pairs[:6])
        for other in pairs[:4]
    ]
    summary = audited(tmp_path, rows, store, scorers=[named])
    twins = found(summary, "policy/discriminator:untrained", "pearson_within")
    assert twins["method"] == "median, least and greatest of 10 untrained networks"
    assert twins["lower"] < twins["estimate"] < twins["upper"]
    assert twins["scorer_version"] == 1
    assert summary["untrained"] == ["policy/discriminator:untrained"]
    assert summary["scorers"] == [named, "length", "zlib_ratio"]
    sentences = verdict([Estimate(**_fields(row)) for row in summary["estimates"]]).findings
    assert any(f"{named} agrees better than every untrained discriminator beside it" in each for each in sentences)
    assert json.loads((tmp_path / "run" / "pins.json").read_text())[named].startswith("policy/discriminator@1")


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in Estimate.model_fields}


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"scorers": ["recorded:rmm"]}, InvalidInput, "no row has a score or judgement 'rmm'; there are: judge, rm"),
        ({"scorers": ["nobody"]}, NotFound, "nobody"),
        ({"scorers": ["length"], "cluster": "model"}, InvalidInput, "line 1: no cluster 'model'; there are: policy"),
    ],
)
def test_a_name_that_is_not_there_is_told(
    tmp_path: Path, fields: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        audited(tmp_path, judged(3, 3), **fields)
    assert not (tmp_path / "run" / "correlations.jsonl").exists()


def test_texts_are_needed_where_texts_are_scored(tmp_path: Path) -> None:
    rows = [{"prompt_id": 1, "oracles": {"judge": 1.0}}]
    with pytest.raises(InvalidInput, match="length: no row has a response"):
        audited(tmp_path, rows, scorers=["length"])


def test_policies_are_compared_where_they_are_the_cluster(tmp_path: Path) -> None:
    rows = judged(12, 6)
    for row in rows:
        row["oracles"]["judge"] += 5.0 * (row["clusters"]["policy"] == "policy-1")
    summary = audited(tmp_path, rows, scorers=["recorded:rm"], cluster="policy")
    won, lost = (found(summary, f"policy-{one}", f"win_rate_over_policy-{1 - one}") for one in (1, 0))
    # every prompt is won: (0.05 / 2)^(1 / 12) = 0.7354
    assert (won["lower"], won["upper"]) == (pytest.approx(0.7354, abs=1e-4), 1.0)
    assert (lost["lower"], lost["upper"]) == (0.0, pytest.approx(1 - 0.7354, abs=1e-4))


def test_wild_rows_never_give_a_wrong_number(tmp_path: Path) -> None:
    rows = judged(10, 6, temperature=1.0, finish_reason="stop", tokens=7)
    rows[0]["scores"]["rm"] = float("nan")
    rows[1]["scores"]["rm"] = float("inf")
    rows[2]["scores"]["rm"] = None
    rows[3]["oracles"]["judge"] = float("-inf")
    del rows[4]["scores"]["rm"]
    rows[5]["response"] = "wide " * 200_000
    rows[6]["response"] = "caf\u00e9 \ud83d \ufffd\x00"  # half an emoji, a replacement character, a NUL
    rows[7] |= {"response": "", "finish_reason": "length"}
    summary = audited(tmp_path, rows, scorers=["recorded:rm"])
    json.dumps(summary, allow_nan=False)
    within = found(summary, "recorded:rm", "pearson_within", 1.0)
    assert (within["n_total"], within["n_dropped"], within["n_truncated"]) == (60, 5, 1)
    assert within["n_responses"] == 54  # of the first prompt one is left, which is compared with nothing
    assert found(summary, "text_empty", "mean", 1.0)["estimate"] == pytest.approx(1 / 60)
    assert found(summary, "text_degenerate", "mean", 1.0)["estimate"] >= 3 / 60
    strata = {row["stratum"] for row in summary["estimates"]}
    assert strata == {"all", "untruncated", "non_degenerate"}


def test_equal_prompt_ids_are_one_prompt_and_constant_scores_say_so(tmp_path: Path) -> None:
    rows = judged(4, 3)
    for number, row in enumerate(rows):
        row["prompt_id"] = number % 2 if number % 3 else str(number % 2)  # 1 and "1" are equal
        row["prompt"] = f"prompt {number % 2}"
        row["scores"]["rm"] = 0.5
    summary = audited(tmp_path, rows, scorers=["recorded:rm"])
    within = found(summary, "recorded:rm", "pearson_within")
    assert summary["n_prompts"] == 2
    assert (within["estimate"], within["n_constant_prompts"]) == (None, 2)
    assert within["undefined_reason"] == "no prompt's scores differ"


def test_one_prompt_eight_times_is_one_prompt_and_nothing_is_resolved(tmp_path: Path) -> None:
    rows = [row | {"prompt": "the same" if row["prompt_id"] < 8 else "another"} for row in judged(9, 4)]
    summary = audited(tmp_path, rows, scorers=["recorded:rm"])
    within = found(summary, "recorded:rm", "pearson_within")
    assert (summary["n_prompts"], within["n_prompts"], within["n_responses"]) == (2, 2, 36)
    assert (within["lower"], within["undefined_reason"]) == (None, "an interval at 95 % needs 6 prompts")
    notice = "9 prompt ids stand for 2 different prompts; what is asked twice counts as one prompt"
    assert summary["notices"] == [notice]


def test_prompts_that_nobody_tells_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    rows = [{name: row[name] for name in ("prompt_id", "scores", "oracles")} for row in judged(9, 4)]
    summary = audited(tmp_path, rows, scorers=["recorded:rm"])
    assert (summary["n_prompts"], summary["notices"]) == (9, [])


def test_a_name_that_means_two_things_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt_id": 1, "scores": {"judge": 2.0}, "oracles": {"judge": 1.0}}]
    with pytest.raises(InvalidInput, match="line 1: 'judge' is both a score and a judgement"):
        audited(tmp_path, rows, scorers=["recorded:judge"])


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        audited(tmp_path, [], scorers=["length"])


@pytest.mark.parametrize(
    "fields",
    [{"scorers": []}, {"oracles": []}, {"bootstrap": {"draws": 10}}, {"bootstrap": {"confidence": 95}}, {"k": 1}],
)
def test_recipes_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AuditRecipe.model_validate({"path": "f", "scorers": ["length"], "oracles": ["recorded:j"], **fields})


def test_real_judgements_contradict_themselves_within_and_between_prompts(tmp_path: Path) -> None:
    if not REAL.exists():
        pytest.skip(f"no real data here: {REAL}")
    recipe = AuditRecipe(path=str(REAL), scorers=["length"], oracles=["recorded:judge"])
    summary = run_recipe(recipe, tmp_path / "run", ArtifactStore(tmp_path / "artifacts"), quiet=True)
    assert (summary["n_prompts"], summary["n_responses"]) == (581, 15682)
    assert "AlpacaEval" in summary["notices"][0]
    within, between, pooled = (found(summary, "length", f"pearson_{part}") for part in ("within", "between", "pooled"))
    assert 0.3 < within["lower"] < within["estimate"] < within["upper"] < 0.45
    assert -0.45 < between["lower"] < between["estimate"] < between["upper"] < -0.1
    assert 0 < pooled["lower"] < pooled["estimate"] < pooled["upper"] < within["lower"]
    # rows taken for independent would give (1 - r^2) / sqrt(n) = 0.0077
    assert pooled["standard_error"] > 2 * (1 - pooled["estimate"] ** 2) / np.sqrt(15682)

"""Correlations are taken at each temperature and over all, from the responses that have both numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.recipes.correlations import ScoreTable, write_findings
from evaluation.recipes.findings import find
from evaluation.scorers.scorer import Column, StoredResponse
from evaluation.statistics.bootstrap import BootstrapSettings
from trainer.generation.sampled import Cell

ORACLE = Column("gold", None, "oracle")
SCORER = Column("rm", 3, "scorer")
OLDER = Column("rm", 2, "scorer")
LENGTH = Column("length", None, "control")
BOOTSTRAP = BootstrapSettings(draws=100)
CELLS = [Cell(prompt_id, t, r) for prompt_id in ("a", "b", "c") for t in (0.5, 1.0) for r in range(3)]
RESPONSES = [StoredResponse(cell, cell.prompt_id, "word " * (cell.replicate + 1), 3, "stop", -1.0) for cell in CELLS]


def table(*columns: Column) -> ScoreTable:
    """At temperature 0.5 every scorer agrees with the oracle, at 1.0 it disagrees."""
    table = ScoreTable(RESPONSES, [*columns, ORACLE])
    for column in [*columns, ORACLE]:
        sign = {c: 1.0 if c.temperature == 0.5 or column is ORACLE else -1.0 for c in CELLS}
        table.fill((c, column, sign[c] * (c.replicate + 10 * "abc".index(c.prompt_id))) for c in CELLS)
    return table


def written(filled: ScoreTable, directory: Path, temperature: float | None) -> list[dict[str, Any]]:
    """The lines of ``correlations.jsonl`` of one temperature."""
    write_findings(find(filled.table(), BOOTSTRAP, 0), filled.versions(), "p@1", directory)
    rows = [json.loads(line) for line in (directory / "correlations.jsonl").read_text().splitlines()]
    return [row for row in rows if row["temperature"] == temperature]


def estimate(rows: list[dict[str, Any]], scorer: str, statistic: str = "pearson_within") -> list[object]:
    return [row["estimate"] for row in rows if (row["scorer"], row["statistic"]) == (scorer, statistic)]


def test_each_temperature_is_told_apart_and_their_union_is_marked_by_none(tmp_path: Path) -> None:
    cold, hot, pooled = (written(table(SCORER), tmp_path, temperature) for temperature in (0.5, 1.0, None))

    assert estimate(cold, "rm") == [pytest.approx(1.0)]
    assert estimate(hot, "rm") == [pytest.approx(-1.0)]
    assert {row["temperature"] for row in pooled} == {None}
    assert estimate(cold, "gold", "mean") == [pytest.approx(11.0)]
    for rows, counts in ((cold, (3, 9, 9)), (pooled, (3, 18, 18))):
        of_r = [row for row in rows if row["statistic"] in {"pearson_within", "pearson_pooled", "pairwise_accuracy"}]
        assert {(row["n_prompts"], row["n_responses"], row["n_total"]) for row in of_r} == {counts}
        assert {(row["policy"], row["scorer_version"], row["oracle"]) for row in of_r} == {("p@1", 3, "gold")}


def test_a_prompt_asked_twice_under_two_names_is_one_prompt() -> None:
    asked = {"a": "Go on.", "b": [{"role": "user", "content": "Go on."}], "c": "Stop."}
    responses = [StoredResponse(cell, asked[cell.prompt_id], "word", 3, "stop", -1.0) for cell in CELLS]
    found = ScoreTable(responses, [ORACLE]).table()
    assert found.n_prompts == 2
    assert found.prompt.tolist() == [0] * 12 + [1] * 6


def test_two_versions_of_a_scorer_stay_two_series(tmp_path: Path) -> None:
    rows = written(table(SCORER, OLDER), tmp_path, 0.5)

    learned = {(row["scorer"], row["scorer_version"]) for row in rows if row["statistic"] == "pearson_within"}
    assert learned == {("rm@2", 2), ("rm@3", 3)}
    [line] = (tmp_path / "comparisons.jsonl").read_text().splitlines()[1:2]
    assert {json.loads(line)[name] for name in ("scorer_a", "scorer_b")} == {"rm@3", "rm@2"}


def test_a_missing_score_is_dropped_and_counted(tmp_path: Path) -> None:
    partial = ScoreTable(RESPONSES, [SCORER, LENGTH, ORACLE])
    for column in (SCORER, LENGTH, ORACLE):
        missing = column is SCORER
        partial.fill(
            (c, column, None if missing and c.replicate == 0 else c.replicate + len(c.prompt_id)) for c in CELLS
        )
    rows = [row for row in written(partial, tmp_path, 0.5) if row["statistic"] == "pearson_within"]

    assert partial.missing() == [("rm", SCORER, 6)]
    assert {row["n_dropped"] for row in rows if row["scorer"] == "rm"} == {3}
    assert {row["n_dropped"] for row in rows if row["scorer"] == "length"} == {0}


def test_untrained_networks_are_told_by_their_band_and_are_no_rivals_to_lead_over(tmp_path: Path) -> None:
    """Of two networks one agrees with the oracle within prompts and one disagrees: the band is [-1, 1] around 0."""
    columns = [Column(f"d:untrained_{seed}", 1, "control") for seed in range(2)]
    filled = ScoreTable(RESPONSES, [SCORER, *columns, ORACLE])
    for column in [SCORER, *columns, ORACLE]:
        sign = -1.0 if column == columns[1] else 1.0
        filled.fill((c, column, sign * c.replicate) for c in CELLS)
    rows = written(filled, tmp_path, 0.5)
    (found,) = [row for row in rows if (row["scorer"], row["statistic"]) == ("d:untrained", "pearson_within")]

    assert [found[key] for key in ("estimate", "lower", "upper")] == pytest.approx([0.0, -1.0, 1.0], abs=1e-9)
    assert (found["scorer_version"], found["method"]) == (1, "median, least and greatest of 2 untrained networks")
    assert {row["scorer"] for row in rows if row["statistic"] == "pearson_within"} == {"rm", "d:untrained"}
    assert not [row for row in rows if "untrained_" in row["scorer"]]
    assert not [row for row in rows if "untrained" in str(row["statistic"])]


def test_an_oracle_with_a_floor_has_its_mean_above_it_too(tmp_path: Path) -> None:
    floored = Column("checker", None, "oracle", floor=0.25)
    filled = ScoreTable(RESPONSES, [SCORER, floored])
    for column in (SCORER, floored):
        filled.fill((c, column, float(c.replicate > 0)) for c in CELLS)
    rows = written(filled, tmp_path, 0.5)

    # two of three responses pass: (2/3 - 1/4) / (3/4) = 5/9
    assert estimate(rows, "checker", "mean_above_floor") == [pytest.approx(5 / 9)]
    assert estimate(rows, "rm", "mean_above_floor") == []

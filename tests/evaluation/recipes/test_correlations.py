"""Correlations are taken at each temperature and over all, from the responses that have both numbers."""

import pytest

from evaluation.recipes.correlations import ScoreTable, correlation_rows
from evaluation.scorers.scorer import Column
from evaluation.statistics.bootstrap import BootstrapSettings
from trainer.generation.sampled import Cell

ORACLE = Column("gold", None, "oracle")
SCORER = Column("rm", 3, "scorer")
OLDER = Column("rm", 2, "scorer")
LENGTH = Column("length", None, "control")
BOOTSTRAP = BootstrapSettings(draws=100)
CELLS = [Cell(prompt_id, t, r) for prompt_id in ("a", "b", "c") for t in (0.5, 1.0) for r in range(3)]


def table(*columns: Column) -> ScoreTable:
    """At temperature 0.5 every scorer agrees with the oracle, at 1.0 it disagrees."""
    table = ScoreTable(CELLS, [*columns, ORACLE])
    for column in [*columns, ORACLE]:
        sign = {c: 1.0 if c.temperature == 0.5 or column is ORACLE else -1.0 for c in CELLS}
        table.fill((c, column, sign[c] * (c.replicate + 10 * "abc".index(c.prompt_id))) for c in CELLS)
    return table


def estimate(rows: list[dict[str, object]], scorer: str, statistic: str = "pearson_within") -> list[object]:
    return [row["estimate"] for row in rows if (row["scorer"], row["statistic"]) == (scorer, statistic)]


def test_each_temperature_is_told_apart_and_their_union_is_marked_by_none() -> None:
    filled = table(SCORER)
    cold = correlation_rows(filled, 0.5, BOOTSTRAP, 0, "p@1")
    hot = correlation_rows(filled, 1.0, BOOTSTRAP, 0, "p@1")
    pooled = correlation_rows(filled, None, BOOTSTRAP, 0, "p@1")

    assert estimate(cold, "rm") == [pytest.approx(1.0)]
    assert estimate(hot, "rm") == [pytest.approx(-1.0)]
    assert {row["temperature"] for row in pooled} == {None}
    assert estimate(cold, "gold", "mean") == [pytest.approx(11.0)]
    assert {(row["n_prompts"], row["n_responses"]) for row in cold} == {(3, 9)}
    assert {(row["n_prompts"], row["n_responses"]) for row in pooled} == {(3, 18)}
    assert {(row["policy"], row["scorer_version"], row["oracle"]) for row in pooled} == {
        ("p@1", 3, "gold"),
        ("p@1", None, "gold"),
    }


def test_two_versions_of_a_scorer_stay_two_series() -> None:
    rows = correlation_rows(table(SCORER, OLDER), 0.5, BOOTSTRAP, 0, "p@1")

    learned = {(row["scorer"], row["scorer_version"]) for row in rows if row["statistic"] != "mean"}
    assert learned == {("rm@2", 2), ("rm@3", 3)}


def test_a_missing_score_is_dropped_and_counted() -> None:
    partial = ScoreTable(CELLS, [SCORER, LENGTH, ORACLE])
    for column in (SCORER, LENGTH, ORACLE):
        missing = column is SCORER
        partial.fill(
            (c, column, None if missing and c.replicate == 0 else c.replicate + len(c.prompt_id)) for c in CELLS
        )
    rows = correlation_rows(partial, 0.5, BOOTSTRAP, 0, "p@1")

    assert partial.missing() == {6: ["rm"]}
    assert {row["n_dropped"] for row in rows if row["scorer"] == "rm" and row["statistic"] == "pearson_within"} == {3}
    assert {row["n_dropped"] for row in rows if row["scorer"] == "length"} == {0}

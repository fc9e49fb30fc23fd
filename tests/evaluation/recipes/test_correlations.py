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

    assert partial.missing() == [("rm", SCORER, 6)]
    assert {row["n_dropped"] for row in rows if row["scorer"] == "rm" and row["statistic"] == "pearson_within"} == {3}
    assert {row["n_dropped"] for row in rows if row["scorer"] == "length"} == {0}


def test_untrained_networks_are_told_by_their_band_and_are_no_rivals_to_lead_over() -> None:
    """Of two networks one agrees with the oracle within prompts and one disagrees: the band is [-1, 1] around 0."""
    columns = [Column(f"d:untrained_{seed}", 1, "control") for seed in range(2)]
    filled = ScoreTable(CELLS, [SCORER, *columns, ORACLE])
    for column in [SCORER, *columns, ORACLE]:
        sign = -1.0 if column == columns[1] else 1.0
        filled.fill((c, column, sign * c.replicate) for c in CELLS)
    rows = correlation_rows(filled, 0.5, BOOTSTRAP, 0, "p@1")
    (found,) = [row for row in rows if (row["scorer"], row["statistic"]) == ("d:untrained", "pearson_within")]

    assert [found[key] for key in ("estimate", "lower", "upper")] == pytest.approx([0.0, -1.0, 1.0], abs=1e-9)
    assert (found["scorer_version"], found["method"]) == (1, "median, least and greatest of 2 untrained networks")
    assert {row["scorer"] for row in rows} == {"rm", "d:untrained", "gold"}
    assert not [row for row in rows if "untrained" in str(row["statistic"])]


def test_an_oracle_with_a_floor_has_its_mean_above_it_too() -> None:
    floored = Column("checker", None, "oracle", floor=0.25)
    filled = ScoreTable(CELLS, [SCORER, floored])
    for column in (SCORER, floored):
        filled.fill((c, column, float(c.replicate > 0)) for c in CELLS)
    rows = correlation_rows(filled, 0.5, BOOTSTRAP, 0, "p@1")

    # two of three responses pass: (2/3 - 1/4) / (3/4) = 5/9
    assert estimate(rows, "checker", "mean_above_floor") == [pytest.approx(5 / 9)]
    assert estimate(rows, "rm", "mean_above_floor") == []

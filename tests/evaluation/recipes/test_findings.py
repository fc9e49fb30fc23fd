"""Findings over temperatures and strata: what they are, what they share, and that bad input is never a wrong number."""

import json
from typing import Any

import numpy as np
import pytest

from evaluation.recipes.findings import Findings, Table, as_rows, find
from evaluation.statistics.bootstrap import BootstrapSettings, Floats
from evaluation.statistics.degeneration import DEGENERATE
from evaluation.statistics.estimate import Estimate

SETTINGS = BootstrapSettings(draws=100)
TEMPERATURES = (0.0, 0.5, 1.0, 2.0)


def table(prompts: int = 30, k: int = 16, seed: int = 0, **changes: Any) -> Table:
    """``rm`` follows the judge ever less as temperature rises; judgements spread ever more."""
    generator = np.random.default_rng(seed)
    cells = [(p, t) for p in range(prompts) for t in TEMPERATURES for _ in range(k if t > 0 else 1)]
    prompt, temperature = (np.array(each) for each in zip(*cells, strict=True))
    judge = (0.5 + temperature) * generator.standard_normal(len(cells)) + generator.standard_normal(prompts)[prompt]
    rm = judge + (0.2 + 2 * temperature**2) * generator.standard_normal(len(cells))
    length = generator.standard_normal(len(cells)) + 0.3 * judge
    truncated = (generator.random(len(cells)) < 0.1).astype(np.float64)
    return Table(
        **{
            "prompt": prompt,
            "n_prompts": prompts,
            "temperature": temperature,
            "scorers": {"rm": rm, "length": length},
            "oracles": {"judge": judge},
            "length": length,
            "truncated": truncated,
            "texts": {DEGENERATE: np.roll(truncated, 1)},
            **changes,
        }
    )


def get(
    found: Findings, statistic: str, temperature: float | None, scorer: str = "rm", stratum: str = "all"
) -> Estimate:
    [one] = [
        each
        for each in found.estimates
        if (each.statistic, each.temperature, each.scorer, each.stratum) == (statistic, temperature, scorer, stratum)
    ]
    return one


@pytest.fixture(scope="module")
def found() -> Findings:
    return find(table(), SETTINGS, 0)


def test_every_number_is_told_once(found: Findings) -> None:
    names = [(e.scorer, e.oracle, e.statistic, e.temperature, e.stratum) for e in found.estimates]
    assert len(names) == len(set(names)) > 100
    points = [(e.scorer, e.oracle, e.curve, e.temperature, e.x) for e in found.points]
    assert len(points) == len(set(points)) > 50
    assert {each.temperature for each in found.estimates} == {None, *TEMPERATURES}


def test_counts_stand_beside_each_estimate(found: Findings) -> None:
    cold, hot = get(found, "pearson_within", 0.0), get(found, "pearson_within", 2.0)
    assert (cold.n_total, cold.n_responses, cold.undefined_reason) == (30, 0, "no prompt has two responses")
    assert (hot.n_total, hot.n_responses, hot.n_prompts, hot.n_constant_prompts) == (480, 480, 30, 0)
    assert hot.n_truncated is not None
    assert 20 < hot.n_truncated < 80


def test_strata_leave_out_what_was_cut_or_is_no_text(found: Findings) -> None:
    whole = get(found, "pearson_within", 2.0)
    for stratum in ("untruncated", "non_degenerate"):
        part = get(found, "pearson_within", 2.0, stratum=stratum)
        assert 400 < part.n_responses < 480
        assert part.estimate != whole.estimate
    assert get(found, "pearson_within", 2.0, stratum="untruncated").n_truncated == 0
    plain = find(table(truncated=np.zeros(30 * 49)), SETTINGS, 0)
    assert "untruncated" not in {each.stratum for each in plain.estimates}


def test_agreement_falls_with_temperature_and_the_trend_says_so(found: Findings) -> None:
    trend = get(found, "pearson_within_trend", None)
    r = [get(found, "pearson_within", t).estimate for t in TEMPERATURES[1:]]
    z = np.arctanh(np.array(r, dtype=np.float64))
    assert trend.estimate == pytest.approx(np.polyfit(TEMPERATURES[1:], z, 1)[0])
    assert trend.upper is not None
    assert trend.upper < 0


def test_r_is_corrected_to_the_spread_at_temperature_one(found: Findings) -> None:
    at_one = get(found, "pearson_within", 1.0)
    assert get(found, "pearson_within_range_corrected", 1.0).estimate == pytest.approx(at_one.estimate)
    cold = get(found, "pearson_within", 0.5).estimate or 0.0
    sd, reference = (get(found, "sd_within", t, "judge").estimate or 0.0 for t in (0.5, 1.0))
    u = reference / sd
    assert u > 1.2
    expected = cold * u / np.sqrt(1 + cold**2 * (u**2 - 1))
    assert get(found, "pearson_within_range_corrected", 0.5).estimate == pytest.approx(expected)


def test_thorndikes_correction_undoes_a_selection() -> None:
    # of 40,000 pairs that correlate by 0.6, those with judgements near the middle correlate less; corrected, as before
    generator = np.random.default_rng(5)
    judge = generator.standard_normal(40_000)
    score = 0.6 * judge + 0.8 * generator.standard_normal(40_000)
    temperature = np.where(np.arange(40_000) < 20_000, 1.0, 0.5)
    keep = (temperature == 1.0) | (np.abs(judge) < 0.7)
    prompt = np.arange(40_000) % 400
    plain = Table(prompt[keep], 400, temperature[keep], {"s": score[keep]}, {"judge": judge[keep]})
    found = find(plain, SETTINGS, 0)
    assert (get(found, "pearson_within", 0.5, "s").estimate or 1.0) < 0.35
    corrected = get(found, "pearson_within_range_corrected", 0.5, "s")
    assert corrected.lower is not None
    assert corrected.upper is not None
    assert corrected.lower < 0.6 < corrected.upper


def test_the_temperature_is_fitted_at_one_and_applied_elsewhere(found: Findings) -> None:
    slopes = {t: get(found, "calibration_slope", t).estimate or 0.0 for t in TEMPERATURES[1:]}
    for t, slope in slopes.items():
        assert get(found, "calibration_tempered_slope", t).estimate == pytest.approx(slope / slopes[1.0])
    assert not [each for each in found.estimates if each.statistic == "calibration_temperature"]
    ungraded = find(table(temperature=np.full(30 * 49, np.nan)), SETTINGS, 0)
    assert get(ungraded, "calibration_tempered_slope", None).estimate == pytest.approx(1)
    assert get(ungraded, "calibration_temperature", None).estimate is not None


def test_best_of_n_by_a_good_scorer_gains_and_is_not_over_optimised(found: Findings) -> None:
    gains = {
        each.x: each
        for each in found.points
        if (each.curve, each.temperature) == ("best_of_n_oracle", 0.5) and each.scorer == "rm"
    }
    assert list(gains) == [1, 2, 3, 4]
    assert (gains[4].lower or 0.0) > (gains[1].upper or 0.0)
    decline = get(found, "best_of_n_decline", 0.5)
    assert (decline.upper or 1.0) < 0
    assert get(found, "best_of_n_best", 0.5).estimate == 4
    hostile = table()
    worse = find(table(scorers={"rm": -hostile.oracles["judge"], "length": hostile.scorers["length"]}), SETTINGS, 0)
    assert (get(worse, "best_of_n_decline", 0.5).lower or -1.0) > 0


def test_scorers_are_compared_with_each_other_at_every_temperature() -> None:
    whole = table()
    noise = np.random.default_rng(9).standard_normal((2, len(whole.prompt)))
    scorers = {"good": whole.oracles["judge"] + 0.5 * noise[0], "bad": whole.oracles["judge"] + 5 * noise[1]}
    found = find(table(scorers=scorers), SETTINGS, 0)
    verdicts = {each.temperature: each.verdict for each in found.comparisons}
    assert verdicts == {None: "better", 0.0: "not resolved", 0.5: "better", 1.0: "better", 2.0: "better"}


def test_a_second_cluster_goes_through_every_family() -> None:
    policies = np.arange(30 * 49) % 7
    found = find(table(second=policies), SETTINGS, 0)
    plain = find(table(), SETTINGS, 0)
    for statistic in ("pearson_within_partial_length", "calibration_slope", "kendall_pooled", "kendall_per_prompt"):
        crossed, alone = get(found, statistic, 2.0), get(plain, statistic, 2.0)
        assert crossed.estimate == pytest.approx(alone.estimate)
        assert crossed.standard_error is not None
        assert "second clusters" in crossed.method
    best = get(found, "best_of_n_regret", 2.0)
    assert best.estimate is not None
    assert best.undefined_reason == "best of N is not resampled over a second cluster"


def with_values(values: Floats) -> dict[str, Any]:
    return {"scorers": {"rm": values, "length": table().scorers["length"]}}


ROWS = 30 * 49
HOLES = np.where(np.arange(ROWS) % 5 == 0, np.nan, np.arange(ROWS) % 11)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    [
        with_values(np.full(ROWS, np.nan)),
        with_values(np.full(ROWS, np.inf)),
        with_values(np.zeros(ROWS)),
        with_values(np.full(ROWS, 0.1)),
        with_values(HOLES),
        with_values(np.where(np.arange(ROWS) % 7 == 0, -np.inf, HOLES)),
        with_values(1e300 * table().scorers["rm"]),
        with_values(1e-300 * table().scorers["rm"]),
        with_values(table().oracles["judge"]),
        {"oracles": {"judge": np.full(ROWS, np.nan)}},
        {"oracles": {"judge": np.zeros(ROWS)}},
        {"oracles": {"judge": 1e300 * table().oracles["judge"]}},
        {"length": np.full(ROWS, np.nan)},
        {"length": np.ones(ROWS)},
        {"length": table().oracles["judge"]},
        {"temperature": np.full(ROWS, np.nan)},
        {"prompt": np.zeros(ROWS, dtype=np.int64), "n_prompts": 1},
        {"truncated": np.ones(ROWS)},
        {"truncated": np.full(ROWS, np.nan)},
        {"second": np.zeros(ROWS, dtype=np.int64)},
        {"second": np.arange(ROWS)},
        {"scorers": {}},
    ],
)
def test_bad_input_gives_numbers_or_reasons_and_never_nan(changes: dict[str, Any]) -> None:
    found = find(table(**changes), SETTINGS, 0)
    for rows in as_rows(found, {}, None):
        json.dumps(rows, allow_nan=False)
    for each in (*found.estimates, *found.points):
        assert each.estimate is not None or each.undefined_reason
        if each.statistic.startswith(("pearson", "spearman", "kendall")) if isinstance(each, Estimate) else False:
            assert each.n_responses + each.n_dropped <= (each.n_total or 0) or each.statistic == "pearson_within_trend"


@pytest.mark.parametrize(("prompts", "k"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_few_prompts_and_responses_give_reasons(prompts: int, k: int) -> None:
    found = find(table(prompts, k), SETTINGS, 0)
    within = get(found, "pearson_within", 2.0)
    if prompts == 1 or k == 1:
        assert within.lower is None
        assert within.undefined_reason


def test_correlations_ignore_the_unit_of_a_score_however_extreme() -> None:
    plain, huge = find(table(), SETTINGS, 0), find(table(**with_values(1e300 * table().scorers["rm"])), SETTINGS, 0)
    for statistic in ("pearson_within", "pearson_within_partial_length", "kendall_pooled", "spearman_per_prompt"):
        assert get(huge, statistic, 2.0).estimate == pytest.approx(get(plain, statistic, 2.0).estimate, abs=1e-9)
    assert get(huge, "sd", 2.0).estimate == pytest.approx(1e300 * (get(plain, "sd", 2.0).estimate or 0.0))

"""Correlations by hand, against scipy, against resampling rows, and the coverage of their intervals."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.correlation import correlate
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.few_prompts import NOTHING_MOVES
from trainer.errors import InvalidInput

STATISTICS = {
    *("pearson_pooled", "pearson_within", "pearson_between", "spearman_pooled", "kendall_pooled"),
    *("spearman_per_prompt", "kendall_per_prompt", "pairwise_accuracy"),
}
PLAIN = {"pairwise_accuracy", "spearman_per_prompt", "kendall_per_prompt"}
"""Whose intervals are of the number as it is, not of its atanh: means over prompts."""


def correlations(
    clusters: Ints, scores: dict[str, Floats], oracle: Floats, **settings: Any
) -> dict[tuple[str, str], Estimate]:
    settings = {"draws": 200, "confidence": 0.95, "seed": 0, **settings}
    found = correlate(clusters, scores, {"judge": oracle}, **settings)
    assert len({(each.scorer, each.statistic) for each in found}) == len(found)
    return {(each.scorer, each.statistic): each for each in found}


def clustered(
    generator: np.random.Generator, prompts: int, k: int, *, within: float, between: float, icc: float
) -> tuple[Ints, Floats, Floats]:
    """Normal scores and judgements whose prompt and response parts correlate as told; icc is the prompts' share."""

    def pair(correlation: float, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        first, noise = generator.standard_normal((2, *shape))
        return first, correlation * first + np.sqrt(1 - correlation**2) * noise

    prompt_x, prompt_y = pair(between, (prompts, 1))
    own_x, own_y = pair(within, (prompts, k))
    x, y = (np.sqrt(icc) * p + np.sqrt(1 - icc) * o for p, o in ((prompt_x, own_x), (prompt_y, own_y)))
    return np.repeat(np.arange(prompts), k), x.ravel(), y.ravel()


def residuals(values: Floats, clusters: Ints) -> Floats:
    """What prompts do not explain, by least squares on their indicators: the definition of repeated-measures r."""
    indicators = (clusters[:, None] == np.unique(clusters)).astype(float)
    fitted: Floats = indicators @ np.linalg.lstsq(indicators, values, rcond=None)[0]
    return values - fitted


def literally_resampled(clusters: Ints, second: Ints, draw: Floats, second_draw: Floats) -> tuple[Ints, Ints]:
    """Row numbers and new prompt names of a bootstrap sample: every copy of a prompt is a prompt of its own."""
    rows, names = [], []
    for name, (prompt, copies) in enumerate(zip(np.unique(clusters), draw, strict=True)):
        for copy in range(int(copies)):
            for row in np.flatnonzero(clusters == prompt):
                rows.extend([row] * int(second_draw[second[row]]))
                names.extend([1000 * name + copy] * int(second_draw[second[row]]))
    return np.array(rows), np.array(names)


def studentised(
    name: str,
    estimate: float | None,
    replicates: Floats,
    without: list[float | None],
    draws: Floats,
    confidence: float,
) -> list[float]:
    """Both ends by the definition: draws (draws, prompts) and the numbers without each prompt are given."""
    scale, back, least = (np.asarray, np.asarray, 0.3) if name in PLAIN else (np.arctanh, np.tanh, 0.6)
    z, z_without = scale(np.array(estimate, float)), scale(np.array(without, float))
    u = np.sqrt((len(without) - 1) / len(without)) * (z_without.mean() - z_without)
    errors = [max(np.sqrt(w @ (u - (w @ u) / len(u)) ** 2), least * np.sqrt(u @ u)) for w in draws]
    q = np.quantile(np.abs(scale(replicates) - z) / errors, confidence)
    return [float(back(z + side * q * np.sqrt(u @ u))) for side in (-1, 1)]


def test_within_and_between_prompts_can_contradict_each_other() -> None:
    # within each prompt the higher score is the better response (r = 1); prompts with higher scores are judged
    # worse: means (1.5, 11.5), (3.5, 6.5), (5.5, 1.5) lie on a falling line (r = -1)
    clusters = np.array([0, 0, 1, 1, 2, 2])
    score = np.array([1.0, 2, 3, 4, 5, 6])
    oracle = np.array([11.0, 12, 6, 7, 1, 2])
    found = correlations(clusters, {"s": score}, oracle)
    assert found["s", "pearson_within"].estimate == pytest.approx(1)
    assert found["s", "pearson_between"].estimate == pytest.approx(-1)
    # pooled: Sxy = -38.5, Sxx = 17.5, Syy = 101.5
    assert found["s", "pearson_pooled"].estimate == pytest.approx(-38.5 / np.sqrt(17.5 * 101.5))
    assert found["s", "pairwise_accuracy"].estimate == 1.0
    assert (found["s", "pearson_within"].n_prompts, found["s", "pearson_within"].n_responses) == (3, 6)


def test_points_are_what_the_reference_implementations_give() -> None:
    generator = np.random.default_rng(1)
    clusters, x, y = clustered(generator, 40, 5, within=0.4, between=-0.3, icc=0.3)
    x, y = np.round(x, 1), np.round(y)  # with ties
    keep = generator.random(200) < 0.8  # and prompts of unequal size
    clusters, x, y = clusters[keep], x[keep], y[keep]
    shuffle = generator.permutation(len(x))  # in no order
    clusters, x, y = clusters[shuffle] * 7 - 3, x[shuffle], y[shuffle]
    found = correlations(clusters, {"s": x}, y)
    means = np.array([[v[clusters == c].mean() for v in (x, y)] for c in np.unique(clusters)])
    expected = {
        "pearson_pooled": stats.pearsonr(x, y)[0],
        "spearman_pooled": stats.spearmanr(x, y)[0],
        "pearson_between": stats.pearsonr(*means.T)[0],
        "pearson_within": stats.pearsonr(residuals(x, clusters), residuals(y, clusters))[0],
        "kendall_pooled": stats.kendalltau(x, y)[0],
    }
    own = [(x[clusters == c], y[clusters == c]) for c in np.unique(clusters)]
    own = [(a, b) for a, b in own if len(set(a)) > 1 and len(set(b)) > 1]
    assert len(own) < len(means)  # some prompts have no coefficient of their own
    expected["spearman_per_prompt"] = np.mean([stats.spearmanr(a, b)[0] for a, b in own])
    expected["kendall_per_prompt"] = np.mean([stats.kendalltau(a, b)[0] for a, b in own])
    assert found["s", "kendall_per_prompt"].n_prompts == len(own)
    assert {name: found["s", name].estimate for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("crossed", [False, True], ids=["prompts", "prompts x policies"])
def test_sums_give_what_resampling_the_rows_gives(crossed: bool) -> None:
    generator = np.random.default_rng(2)
    clusters, x, y = clustered(generator, 8, 6, within=0.5, between=0.2, icc=0.3)
    x[::5] = x[0]  # ties
    policies = np.tile([0, 1, 2, 3, 3, 3], 8)
    draws = 60
    bootstrap = Bootstrap(8, 4, draws, seed=9)
    prompt_draws = np.concatenate(list(bootstrap.weights(1)))
    [policy_stream] = bootstrap._streams(1)
    policy_draws = np.concatenate(list(policy_stream.weights(4, draws))) if crossed else np.ones((draws, 4))
    resampled: dict[str, list[float | None]] = {name: [] for name in STATISTICS}
    ranks = stats.rankdata(x), stats.rankdata(y)
    for prompt_draw, policy_draw in zip(prompt_draws, policy_draws, strict=True):
        rows, names = literally_resampled(clusters, policies, prompt_draw, policy_draw)
        found = correlations(names, {"s": x[rows]}, y[rows], draws=2)
        for name in STATISTICS - {"spearman_pooled"}:
            resampled[name].append(found["s", name].estimate)
        resampled["spearman_pooled"].append(stats.pearsonr(ranks[0][rows], ranks[1][rows])[0])
    whole = correlations(
        clusters, {"s": x}, y, draws=draws, seed=9, confidence=0.8, second_cluster=policies if crossed else None
    )
    # ranks stay those of the sample; tau of all rows is taken to first order, which its own test judges
    for name in STATISTICS - {"kendall_pooled"} - ({"spearman_per_prompt"} if crossed else set()):
        values = np.array([value for value in resampled[name] if value is not None])
        assert len(values) >= draws - 1  # a draw of one prompt alone has no r between prompts
        if crossed:
            low, high = np.quantile(values if name in PLAIN else np.arctanh(values), [0.1, 0.9])
            expected = [low, high] if name in PLAIN else np.tanh([low, high]).tolist()
        else:
            of = ranks if name == "spearman_pooled" else (x, y)
            statistic = "pearson_pooled" if name == "spearman_pooled" else name
            without = [
                correlations(clusters[keep], {"s": of[0][keep]}, of[1][keep], draws=2)["s", statistic].estimate
                for keep in (clusters != prompt for prompt in range(8))
            ]
            known = np.array([value is not None for value in resampled[name]])
            expected = studentised(name, whole["s", name].estimate, values, without, prompt_draws[known], 0.8)
        assert [whole["s", name].lower, whole["s", name].upper] == pytest.approx(expected, abs=1e-10), name
        assert whole["s", name].standard_error == pytest.approx(values.std(ddof=1), abs=1e-10), name


def covered(repetitions: int, draws: int, statistic: str, truth: float, *, clusters_known: bool = True) -> float:
    """Share of samples of 100 prompts x 16 responses whose 95 % interval holds the truth."""
    inside = 0
    for repetition in range(repetitions):
        generator = np.random.default_rng([11, repetition])
        clusters, x, y = clustered(generator, 100, 16, within=0.3, between=0.6, icc=0.3)
        clusters = clusters if clusters_known else np.arange(len(x))
        [found] = [
            each
            for each in correlate(clusters, {"s": x}, {"o": y}, draws=draws, confidence=0.95, seed=repetition)
            if each.statistic == statistic
        ]
        assert found.lower is not None
        assert found.upper is not None
        inside += found.lower <= truth <= found.upper
    return inside / repetitions


POOLED_TRUTH = 0.3 * 0.6 + 0.7 * 0.3


def test_intervals_cover_when_prompts_are_clusters_and_do_not_when_rows_are() -> None:
    # of 120 samples at 95 %, 105 or fewer are covered once in 1,700 runs; the seed is fixed
    assert covered(120, 300, "pearson_pooled", POOLED_TRUTH) >= 106 / 120
    assert covered(120, 300, "pearson_pooled", POOLED_TRUTH, clusters_known=False) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statistic", "truth"), [("pearson_pooled", POOLED_TRUTH), ("pearson_within", 0.3)], ids=["pooled", "within"]
)
def test_coverage_of_a_thousand_samples(statistic: str, truth: float) -> None:
    assert 0.92 <= covered(1000, 1000, statistic, truth) <= 0.97


def test_missing_scores_are_counted_and_leave_the_rest_as_it_was() -> None:
    clusters, x, y = clustered(np.random.default_rng(3), 20, 4, within=0.5, between=0.5, icc=0.3)
    holes_x, holes_y = x.copy(), y.copy()
    holes_x[[0, 5]] = np.nan
    holes_x[9] = np.inf
    holes_y[[5, 20]] = np.nan, -np.inf
    keep = np.isfinite(holes_x) & np.isfinite(holes_y)
    found = correlations(clusters, {"s": holes_x}, holes_y)
    complete = correlations(clusters[keep], {"s": x[keep]}, y[keep])
    for name in STATISTICS:
        assert found["s", name].n_dropped == 4
        assert found["s", name].n_responses == 76
        assert found["s", name].model_copy(update={"n_dropped": 0, "n_total": 76}) == complete["s", name]


def test_a_prompt_without_any_score_is_no_point_at_zero() -> None:
    clusters, x, y = clustered(np.random.default_rng(3), 20, 4, within=0.5, between=0.5, icc=0.3)
    often = np.repeat(np.arange(80), np.where(x > 0.5, 5, 1))  # so that the mean of prompts is not the mean of rows
    clusters, x, y = clusters[often], x[often] + 9, y[often] - 9
    gone = np.where(clusters == 7, np.nan, x)
    found = correlations(clusters, {"s": gone}, y)
    complete = correlations(clusters[clusters != 7], {"s": x[clusters != 7]}, y[clusters != 7])
    for name in STATISTICS:
        assert found["s", name].estimate == pytest.approx(complete["s", name].estimate)
        assert found["s", name].n_prompts == 19
        assert found["s", name].standard_error == pytest.approx(complete["s", name].standard_error, rel=0.3)


def test_shifting_and_scaling_a_score_changes_nothing_however_extreme() -> None:
    clusters, x, y = clustered(np.random.default_rng(4), 20, 4, within=0.5, between=0.5, icc=0.3)
    scores = {"s": x, "huge": x * 1e300, "tiny": x * 1e-300, "far": x + 1e6}
    found = correlations(clusters, scores, y)
    for name in STATISTICS:
        for scorer in ("huge", "tiny", "far"):
            assert found[scorer, name].estimate == pytest.approx(found["s", name].estimate, abs=1e-8), (scorer, name)
            assert found[scorer, name].lower == pytest.approx(found["s", name].lower, abs=1e-8), (scorer, name)


@pytest.mark.parametrize(
    ("statistic", "reason", "clusters", "score", "oracle"),
    [
        ("pearson_pooled", "every score is the same", [0, 0, 1, 1, 2], [0.1] * 5, [1, 2, 3, 4, 5]),
        ("pearson_pooled", "every judgement is the same", [0, 0, 1, 1, 2], [1, 2, 3, 4, 5], [0.3] * 5),
        ("pearson_within", "no prompt's scores differ", [0, 0, 1, 1, 2], [0.1, 0.1, 0.7, 0.7, 3], [1, 2, 3, 4, 5]),
        ("pearson_within", "no prompt has two responses", [0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 5]),
        ("pearson_within", "two responses to one prompt always correlate perfectly", [0, 0, 1], [1, 2, 3], [2, 1, 3]),
        (
            "pearson_between",
            "every prompt has the same mean score",
            [0, 0, 1, 1, 2, 2],
            [1, 2, 2, 1, 0, 3],
            [1] * 5 + [2],
        ),
        ("pearson_between", "fewer than three prompts", [0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 5]),
        ("spearman_pooled", "fewer than three responses", [0, 1], [1, 2], [1, 2]),
        ("pairwise_accuracy", "no prompt has two responses judged differently", [0, 0, 1], [1, 2, 3], [4, 4, 5]),
        ("pearson_pooled", "no response has both a score and a judgement", [0, 1, 2], [np.nan] * 3, [1, 2, 3]),
        ("pearson_pooled", "no response has both a score and a judgement", [], [], []),
    ],
)
def test_what_cannot_be_computed_is_missing_with_its_reason(
    statistic: str, reason: str, clusters: list[int], score: list[float], oracle: list[float]
) -> None:
    found = correlations(np.array(clusters, dtype=np.int64), {"s": np.array(score, float)}, np.array(oracle, float))
    assert found["s", statistic].estimate is None
    assert found["s", statistic].lower is None
    assert found["s", statistic].undefined_reason == reason


def test_one_prompt_gives_an_estimate_and_no_interval() -> None:
    found = correlations(np.zeros(5, dtype=np.int64), {"s": np.array([1.0, 2, 3, 4, 5])}, np.array([1.0, 2, 3, 5, 4]))
    within = found["s", "pearson_within"]
    assert within.estimate == pytest.approx(0.9)  # Sxy = 9, Sxx = Syy = 10
    assert (within.lower, within.standard_error, within.undefined_reason) == (
        None,
        None,
        "an interval at 95 % needs 6 prompts",
    )
    assert found["s", "pairwise_accuracy"].estimate == 0.9  # one of ten pairs is wrong


def test_draws_that_lose_the_only_varying_prompt_leave_no_interval() -> None:
    clusters = np.repeat(np.arange(5), 3)
    oracle = np.array([1.0, 2, 3] + [2.0] * 12)
    found = correlations(clusters, {"s": np.arange(15.0) % 3}, oracle, confidence=0.9)
    within = found["s", "pearson_within"]
    assert within.estimate is not None
    assert within.lower is None
    assert within.undefined_reason is not None
    assert within.undefined_reason.startswith("undefined in ")


def test_draws_of_one_prompt_alone_are_undefined_and_not_the_rounding_that_is_left() -> None:
    # of three prompts one ninth of all draws take the same one thrice: no r between prompts
    clusters = np.repeat(np.arange(3), 2)
    score = np.array([0.1, 0.7, 1.3, 2.1, 3.3, 0.9])
    oracle = np.array([0.3, 1.1, 0.2, 1.7, 2.9, 2.3])
    between = correlations(clusters, {"s": score}, oracle, draws=2000, confidence=0.7)["s", "pearson_between"]
    assert between.estimate is not None
    assert between.undefined_reason is not None
    undefined = int(between.undefined_reason.split()[2])
    assert undefined == pytest.approx(2000 / 9, rel=0.2)


def test_a_copy_of_a_scorer_gets_the_same_interval_and_no_lead_over_its_original() -> None:
    clusters, x, y = clustered(np.random.default_rng(5), 30, 4, within=0.5, between=0.5, icc=0.3)
    found = correlations(clusters, {"model": 2 * x + 1, "length": x}, y)
    for name in STATISTICS:
        assert found["model", name].lower == pytest.approx(found["length", name].lower)
    lead = found["model", "pearson_within_lead_over_length"]
    assert (lead.estimate, lead.lower, lead.undefined_reason) == (pytest.approx(0, abs=1e-9), None, NOTHING_MOVES)
    assert ("length", "pearson_within_lead_over_length") not in found


def test_a_lead_is_the_difference_of_atanh_r_and_a_control_may_be_read_either_way() -> None:
    clusters, x, y = clustered(np.random.default_rng(6), 60, 6, within=0.3, between=0.3, icc=0.3)
    noise = np.random.default_rng(7).standard_normal(len(x))
    found = correlations(clusters, {"model": x, "truncated": -(y + noise), "length": noise}, y, draws=500)
    r = {name: found[name, "pearson_within"].estimate or 0.0 for name in ("model", "truncated", "length")}
    assert r["truncated"] < -0.5
    behind = found["model", "pearson_within_lead_over_truncated"]
    assert behind.estimate == pytest.approx(np.arctanh(r["model"]) - np.arctanh(-r["truncated"]))
    assert behind.upper is not None
    assert behind.upper < 0
    ahead = found["model", "pearson_within_lead_over_length"]
    assert ahead.lower is not None
    assert ahead.lower > 0


def test_a_lead_is_taken_where_both_are_known() -> None:
    clusters, x, y = clustered(np.random.default_rng(8), 30, 4, within=0.5, between=0.5, icc=0.3)
    holes = np.where(np.arange(120) % 10 == 0, np.nan, x)
    found = correlations(clusters, {"model": x, "length": holes}, y)
    lead = found["model", "pearson_within_lead_over_length"]
    assert lead.estimate == pytest.approx(0, abs=1e-9)  # on common rows they are the same scores
    assert (lead.n_responses, lead.n_dropped) == (108, 12)
    constant = correlations(clusters, {"model": x, "length": np.ones(120)}, y)[
        "model", "pearson_within_lead_over_length"
    ]
    assert constant.undefined_reason == "length: no prompt's scores differ"


def test_a_second_cluster_widens_the_interval_when_it_carries_the_difference() -> None:
    # six policies, good and bad: the correlation is theirs, so six clusters cannot know it well
    generator = np.random.default_rng(9)
    policies = np.tile(np.arange(6), 50)
    quality = np.array([-1.0, -0.7, -0.5, 0.4, 0.8, 1.0])[policies]
    x, y = quality + generator.standard_normal((2, 300))
    clusters = np.repeat(np.arange(50), 6)
    one = correlations(clusters, {"s": x}, y, draws=500)["s", "pearson_within"]
    two = correlations(clusters, {"s": x}, y, draws=500, second_cluster=policies)["s", "pearson_within"]
    assert one.estimate == two.estimate
    assert one.standard_error is not None
    assert two.standard_error is not None
    assert two.standard_error > 1.5 * one.standard_error
    assert "second clusters" in two.method


def test_where_policies_differ_only_intervals_that_draw_them_cover() -> None:
    # the part of score and judgement that is the policy's correlates by 0.3, as the responses' own parts do
    inside = {"prompts": 0, "both": 0}
    for repetition in range(60):
        generator = np.random.default_rng([12, repetition])
        policy, own = generator.standard_normal((2, 20, 1)), generator.standard_normal((2, 20, 40))
        x = policy[0] + own[0]
        y = 0.3 * x + np.sqrt(1 - 0.3**2) * (policy[1] + own[1])
        policies, clusters = np.repeat(np.arange(20), 40), np.tile(np.arange(40), 20)
        for name, second in (("prompts", None), ("both", policies)):
            scores = {"s": x.ravel()}
            found = correlations(clusters, scores, y.ravel(), seed=repetition, second_cluster=second)[
                "s", "pearson_within"
            ]
            assert found.lower is not None
            assert found.upper is not None
            inside[name] += found.lower <= 0.3 <= found.upper
    assert inside["both"] >= 52  # at 95 % fewer happen once in 350 runs; the seed is fixed
    assert inside["prompts"] < 42


def test_a_second_cluster_with_a_value_for_every_row_is_refused() -> None:
    rows = np.arange(5000)
    with pytest.raises(InvalidInput, match="second cluster has 5000 values"):
        correlations(rows, {"s": rows * 1.0}, rows * 1.0, second_cluster=rows)

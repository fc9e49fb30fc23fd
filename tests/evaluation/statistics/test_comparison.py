"""Paired differences between scorers: what they are, how often they cry wolf, and how several hold at once."""

import numpy as np
import pytest

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.comparison import difference, simultaneous, verdict
from evaluation.statistics.correlation import agree
from evaluation.statistics.estimate import Comparison
from evaluation.statistics.few_prompts import NOTHING_MOVES
from evaluation.statistics.interval import Spread, simultaneous_intervals
from evaluation.statistics.measured import Frame, Measured
from evaluation.statistics.sample import Sample


def compared(clusters: Ints, scores: dict[str, Floats], oracle: Floats, draws: int, seed: int = 0) -> list[Comparison]:
    sample = Sample(clusters, None, scores, {"gold": oracle})
    frame = Frame(1.0, "all", 0.95, "a bootstrap", len(oracle), None)
    bootstrap = Bootstrap(sample.n_prompts, None, draws, seed)
    return agree(sample, frame, bootstrap, list(scores), ["gold"], None).comparisons


def rivals(seed: int, prompts: int, k: int, noise: tuple[float, ...]) -> tuple[Ints, dict[str, Floats], Floats]:
    """Scorers that follow the oracle with the noise told, part of it shared by the prompt and part by all scorers."""
    generator = np.random.default_rng([7, seed])
    clusters = np.repeat(np.arange(prompts), k)
    oracle = generator.standard_normal(prompts)[clusters] + generator.standard_normal(prompts * k)
    shared = generator.standard_normal(prompts * k)
    # prompts differ in how hard they are, which rows taken for independent do not notice
    hard = np.exp(0.4 * generator.standard_normal(prompts))[clusters]
    return (
        clusters,
        {
            f"s{index}": oracle + hard * (0.5 * shared + each * generator.standard_normal(prompts * k))
            for index, each in enumerate(noise)
        },
        oracle,
    )


def test_a_difference_is_of_atanh_r_on_common_responses() -> None:
    clusters, scores, oracle = rivals(0, 60, 8, (0.5, 2.0))
    scores["s1"][:3] = np.nan
    [found] = compared(clusters, scores, oracle, 300)
    assert (found.scorer_a, found.scorer_b, found.verdict) == ("s0", "s1", "better")
    keep = np.isfinite(scores["s1"])

    def within(score: Floats) -> float:
        x, y = (
            v[keep] - np.array([v[keep][clusters[keep] == c].mean() for c in clusters[keep]]) for v in (score, oracle)
        )
        return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))

    assert found.estimate == pytest.approx(np.arctanh(within(scores["s0"])) - np.arctanh(within(scores["s1"])))
    assert (found.n_dropped, found.n_responses) == (3, 477)


def test_copies_are_not_resolved_and_what_is_undefined_says_so() -> None:
    clusters, scores, oracle = rivals(1, 30, 4, (1.0,))
    found = compared(clusters, {"a": scores["s0"], "b": 2 * scores["s0"], "flat": np.ones(120)}, oracle, 200)
    by_name = {(each.scorer_a, each.scorer_b): each for each in found}
    assert by_name["a", "b"].verdict == "not resolved"
    assert by_name["a", "b"].estimate == pytest.approx(0, abs=1e-9)
    assert by_name["a", "b"].undefined_reason == NOTHING_MOVES
    assert by_name["a", "flat"].estimate is None
    assert by_name["a", "flat"].undefined_reason == "no prompt's scores differ"


def test_one_interval_among_several_is_wider_than_alone() -> None:
    generator = np.random.default_rng(3)
    several = [Measured(0.0, generator.standard_normal(4000), 10, 40, None) for _ in range(10)]
    alone, together = simultaneous(several[:1], 0.95)[0], simultaneous(several, 0.95)[0]
    assert alone.upper == pytest.approx(1.96, abs=0.12)
    # of ten independent normal deviates the largest is below 2.80 with probability 0.95
    assert together.upper == pytest.approx(2.80, abs=0.15)


def test_a_scorer_with_one_outlier_prompt_leaves_the_others_interval_as_narrow_as_among_any_three() -> None:
    clusters, scores, oracle = rivals(2, 100, 16, (0.7, 1.2, 1.0))
    third = scores["s2"].copy()
    third[:16] *= 20  # one prompt of a hundred, which 37 % of draws miss

    def width(other: Floats) -> float:
        found = compared(clusters, {**scores, "s2": other}, oracle, 500)[0]
        assert (found.scorer_a, found.scorer_b, found.verdict) == ("s0", "s1", "better")
        assert found.lower is not None
        assert found.upper is not None
        return found.upper - found.lower

    assert width(third) == pytest.approx(width(scores["s2"]), rel=0.25)


def test_a_nearly_constant_scorer_takes_no_interval_but_its_own() -> None:
    clusters, scores, oracle = rivals(2, 100, 16, (0.7, 1.2, 1.0))
    scores["s2"][32:] = 0.0  # its scores differ in two prompts, and (98/100)^100 = 13 % of draws have neither
    sure, one, other = compared(clusters, scores, oracle, 500)
    assert sure.verdict == "better"
    assert sure.undefined_reason is None
    [alone] = compared(clusters, {name: scores[name] for name in ("s0", "s1")}, oracle, 500)
    assert (sure.lower, sure.upper) == (alone.lower, alone.upper)
    assert "max-T" not in sure.method
    for each in (one, other):
        assert each.lower is None
        assert each.undefined_reason is not None
        assert "of 500 bootstrap draws" in each.undefined_reason


def test_no_draw_is_surer_than_six_tenths_of_the_sample() -> None:
    # draws 1 away with next to no error of their own: |t*| = 1 / 0.6, so the interval is 0 +- 1 / 0.6
    spread = Spread(0.0, np.array([-1.0, 1.0] * 100), 1.0, np.full(200, 1e-3))
    [found] = simultaneous_intervals([spread], 0.95)
    assert (found.lower, found.upper) == pytest.approx((-1 / 0.6, 1 / 0.6))


def test_without_standard_errors_of_draws_an_interval_is_called_symmetric() -> None:
    [found] = simultaneous([Measured(0.5, np.array([0.0, 1.0] * 50), 10, 40, None)], 0.95)
    assert (found.kind, found.lower, found.upper) == ("symmetric", pytest.approx(0.0), pytest.approx(1.0))


def test_verdicts() -> None:
    assert [verdict(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (None, None))] == [
        "better",
        "worse",
        "not resolved",
        "not resolved",
    ]


def test_a_difference_without_draws_has_a_value_and_a_reason() -> None:
    found = difference(Measured(0.5, None, 1, 4, "an interval needs two prompts"), Measured(0.2, None, 1, 4, None))
    assert found.value == pytest.approx(np.arctanh(0.5) - np.arctanh(0.2))
    assert found.reason == "an interval needs two prompts"


def rejected(repetitions: int, draws: int, noise: tuple[float, ...], prompts: int = 40, k: int = 6) -> float:
    """Share of samples in which some pair of equally good scorers is told apart."""
    count = 0
    for repetition in range(repetitions):
        clusters, scores, oracle = rivals(repetition, prompts, k, noise)
        found = compared(clusters, scores, oracle, draws, seed=repetition)
        count += any(each.verdict != "not resolved" for each in found)
    return count / repetitions


def test_equals_are_seldom_told_apart() -> None:
    # of 100 samples at 5 %, 12 or more come once in 240 runs; the seeds are fixed
    assert rejected(100, 200, (1.0, 1.0)) <= 0.11


@pytest.mark.slow
@pytest.mark.parametrize("noise", [(1.0, 1.0), (1.0, 1.0, 1.0, 1.0)], ids=["two", "four"])
def test_type_one_error_of_a_thousand_samples(noise: tuple[float, ...]) -> None:
    assert rejected(1000, 1000, noise, prompts=100, k=16) <= 0.07

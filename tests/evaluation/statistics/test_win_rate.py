"""Win rates, their paired differences and length buckets, against numbers worked by hand."""

import numpy as np
import pytest

from evaluation.statistics.estimate import Estimate
from evaluation.statistics.win_rate import Contest, win_rates


def contest(instruction: list[int], preference: list[float], length: list[int], baseline: list[float]) -> Contest:
    return Contest(
        np.array(instruction, dtype=np.int64),
        *(np.array(each, dtype=np.float64) for each in (preference, length)),
        np.array(baseline, dtype=np.float64),
        None,
    )


def rated(
    contests: dict[str, Contest], reference: str | None = None, buckets: int = 1
) -> dict[tuple[str, ...], Estimate]:
    estimates = win_rates(
        contests, oracle="judge", reference=reference, length_buckets=buckets, draws=500, confidence=0.95, seed=0
    )
    return {(each.scorer, each.statistic, each.stratum): each for each in estimates}


NAN = float("nan")


def test_rates_are_means_of_preferences_and_of_wins() -> None:
    found = rated({"a": contest([0, 1, 2, 3], [0.9, 0.5, 0.2, NAN], [10, 20, 30, 40], [10, 20, 30, 40])})
    rate = found["a", "win_rate", "all"]
    assert rate.estimate == pytest.approx(1.6 / 3)
    assert (rate.n_prompts, rate.n_responses, rate.n_dropped) == (3, 3, 1)
    assert found["a", "win_rate_discrete", "all"].estimate == pytest.approx(1.5 / 3)  # won, tied, lost
    assert found["a", "mean_length", "all"].estimate == 20


def test_the_standard_error_is_of_instructions_not_of_battles() -> None:
    # every instruction is fought on ten times with one outcome: 20 observations, not 200
    instruction = [each for each in range(20) for _ in range(10)]
    preference = [float(each % 2) for each in instruction]
    found = rated({"a": contest(instruction, preference, [1] * 200, [1.0] * 200)})
    assert found["a", "win_rate", "all"].standard_error == pytest.approx(0.5 / np.sqrt(20), rel=0.1)


def test_models_that_win_together_differ_by_less_than_their_own_errors() -> None:
    generator = np.random.default_rng(0)
    hard = generator.random(100)
    rows = list(range(100)), [10] * 100, [10.0] * 100
    a = contest(rows[0], list(hard), *rows[1:])
    b = contest(rows[0], list(0.9 * hard), *rows[1:])
    found = rated({"a": a, "b": b}, reference="a")
    lead = found["b", "win_rate_lead_over_a", "all"]
    assert lead.estimate == pytest.approx(-0.1 * hard.mean())
    assert lead.upper is not None
    assert lead.upper < 0
    assert (lead.standard_error or 1) == pytest.approx(0.1 * (found["a", "win_rate", "all"].standard_error or 0))


def test_only_instructions_that_both_were_judged_on_are_compared() -> None:
    a = contest([0, 1, 2], [1.0, 0.0, 1.0], [1, 1, 1], [1.0, 1.0, 1.0])
    b = contest([1, 2, 3, 4], [1.0, 0.0, NAN, 0.0], [1] * 4, [1.0] * 4)
    lead = rated({"a": a, "b": b}, reference="a")["b", "win_rate_lead_over_a", "all"]
    assert lead.estimate == pytest.approx(0.5 - 0.5)  # on 1 and 2 each won one
    assert lead.n_prompts == 2


def test_the_order_of_rows_changes_nothing() -> None:
    generator = np.random.default_rng(1)
    columns = np.arange(30), generator.random(30), generator.integers(1, 99, 30), generator.integers(1, 99, 30)
    order = generator.permutation(30)
    one, other = (
        rated({"a": contest(*(list(each) for each in sides))})["a", "win_rate_length_controlled", "all"]
        for sides in (columns, [each[order] for each in columns])
    )
    assert one.estimate == pytest.approx(other.estimate)
    assert one.lower == pytest.approx(other.lower)


def test_buckets_hold_equal_numbers_of_all_outputs() -> None:
    a = contest([0, 1, 2, 3], [1.0, 1.0, 0.0, 0.0], [10, 20, 30, 40], [1.0] * 4)
    b = contest([0, 1, 2, 3], [0.0, 1.0, 0.0, 1.0], [15, 25, 35, 45], [1.0] * 4)
    found = rated({"a": a, "b": b}, buckets=2)
    assert found["a", "win_rate", "length 0-29"].estimate == 1.0
    assert found["a", "win_rate", "length 30-"].estimate == 0.0
    assert found["b", "win_rate", "length 0-29"].estimate == 0.5


def test_without_the_baselines_lengths_there_is_no_length_controlled_rate_and_a_reason() -> None:
    found = rated({"a": contest([0, 1], [1.0, 0.0], [10, 20], [NAN, NAN])})
    missing = found["a", "win_rate_length_controlled", "all"]
    assert missing.estimate is None
    assert missing.undefined_reason == "the baseline's outputs, whose length is needed, are not recorded"


def test_few_instructions_give_a_rate_without_an_interval() -> None:
    for n in (1, 5):
        rate = rated({"a": contest(list(range(n)), [1.0] * n, [10] * n, [10.0] * n)})["a", "win_rate", "all"]
        assert (rate.estimate, rate.lower, rate.undefined_reason) == (1.0, None, "an interval at 95 % needs 6 prompts")


def test_no_verdict_at_all_is_no_rate() -> None:
    rate = rated({"a": contest([0, 1], [NAN, NAN], [10, 20], [10.0, 20.0])})["a", "win_rate", "all"]
    assert (rate.estimate, rate.n_dropped, rate.undefined_reason) == (None, 2, "no battle has a verdict")


def test_a_model_that_wins_every_instruction_has_the_exact_interval_where_they_count_alike() -> None:
    won = contest(list(range(8)), [1.0] * 8, [10] * 8, [10] * 8)
    # (0.025)^(1 / 8) = 0.6306
    assert rated({"m": won})["m", "win_rate", "all"].lower == pytest.approx(0.6306, abs=1e-4)
    twice = contest([*range(8), 7], [1.0] * 9, [10] * 9, [10] * 9)
    assert rated({"m": twice})["m", "win_rate", "all"].lower is None

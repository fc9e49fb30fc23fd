"""Means over responses, by hand."""

import numpy as np
import pytest

from evaluation.statistics.averages import averages
from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.few_prompts import NOTHING_MOVES


def mean_of(values: list[float] | Floats, clusters: list[int], **more: object) -> Estimate:
    settings = {"draws": 400, "confidence": 0.95, "seed": 0, **more}
    [found] = averages(np.array(clusters), {"gold": np.array(values, dtype=float)}, **settings)  # type: ignore[arg-type]
    return found


def test_a_mean_weighs_every_response_equally_and_counts_what_is_missing() -> None:
    found = mean_of([1, 2, np.nan, 6, np.inf], [0, 0, 0, 1, 2])
    assert found.estimate == pytest.approx(3.0)  # (1 + 2 + 6) / 3
    assert (found.n_prompts, found.n_responses, found.n_dropped) == (2, 3, 2)
    assert (found.scorer, found.oracle, found.statistic) == ("gold", "gold", "mean")


def test_copies_of_a_response_are_no_further_evidence() -> None:
    values = np.random.default_rng(0).standard_normal(50)
    alone = mean_of(values, list(range(50)))
    copied = mean_of(np.repeat(values, 10), list(np.repeat(range(50), 10)))
    assert copied.standard_error == pytest.approx(alone.standard_error)
    assert alone.standard_error == pytest.approx(values.std() / np.sqrt(50), rel=0.15)


def test_a_second_cluster_that_makes_the_difference_is_taken_into_account() -> None:
    policies = np.tile(np.arange(4), 40)
    one = mean_of(1.0 * policies, list(np.repeat(range(40), 4)))
    two = mean_of(1.0 * policies, list(np.repeat(range(40), 4)), second_cluster=policies)
    assert one.undefined_reason == NOTHING_MOVES  # every prompt has the same mean
    assert two.standard_error == pytest.approx(np.sqrt(1.25 / 4), rel=0.15)  # four policies of variance 1.25


def test_nothing_to_average_and_few_prompts_are_said() -> None:
    assert mean_of([np.nan], [0]).undefined_reason == "no response has a value"
    assert mean_of([], []).undefined_reason == "no response has a value"
    one = mean_of([1, 3], [5, 5])
    assert (one.estimate, one.lower, one.undefined_reason) == (2.0, None, "an interval at 95 % needs 6 prompts")

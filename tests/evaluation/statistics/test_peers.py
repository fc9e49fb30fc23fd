"""One small data set, and what the field's own packages say of it.

The constants come from pingouin 0.7.0 (rm_corr, partial_corr), statsmodels 0.15.0 (Logit, OLS) and scikit-learn 1.9.1
(brier_score_loss, calibration_curve), run on the numbers that ``rows`` makes; their dependencies are many and slow.
"""

import numpy as np
import pytest
from scipy import optimize

from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.correlation import agree
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.measured import Frame
from evaluation.statistics.sample import Sample


def rows() -> tuple[Ints, Floats, Floats, Floats]:
    """Prompt, score, judgement and length of 60 responses to 12 prompts."""
    generator = np.random.default_rng(2026)
    prompt = np.repeat(np.arange(12), 5)
    shared = generator.standard_normal(12)[prompt]
    length = np.round(np.exp(3 + 0.5 * generator.standard_normal(60) + 0.2 * shared))
    oracle = np.round(shared + 0.4 * np.log1p(length) + generator.standard_normal(60), 2)
    score = np.round(-shared + 0.5 * oracle + 0.3 * np.log1p(length) + generator.standard_normal(60), 2)
    return prompt, score, oracle, np.log1p(length)


@pytest.fixture(scope="module")
def found() -> dict[str, Estimate]:
    prompt, score, oracle, length = rows()
    assert (score[:2].tolist(), oracle[:2].tolist()) == ([3.79, 0.06], [2.62, -0.24])  # the numbers they were given
    sample = Sample(prompt, None, {"s": score}, {"o": oracle}, length=length)
    frame = Frame(None, "all", 0.95, "a bootstrap", 60, None)
    agreement = agree(sample, frame, Bootstrap(12, None, 200, 0), ["s"], ["o"], None)
    return {each.statistic: each for each in agreement.estimates if each.scorer == "s"}


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("pearson_within", 0.317151),  # pingouin.rm_corr
        ("pearson_within_partial_length", 0.2948548517643550),  # statsmodels OLS on prompts and length; residuals
        ("calibration_slope", 0.2457988529238035),  # statsmodels Logit of the oracle's order, no intercept
        ("calibration_brier", 0.27314756850487526),  # sklearn.metrics.brier_score_loss
        ("calibration_ece", 0.17515819886229939),  # sklearn.calibration.calibration_curve, ten quantile bins
    ],
)
def test_the_point_is_what_the_package_gives(found: dict[str, Estimate], statistic: str, expected: float) -> None:
    assert found[statistic].estimate == pytest.approx(expected, abs=1e-6 if statistic == "pearson_within" else 1e-12)


def test_slope_and_temperature_are_where_the_likelihood_is_highest(found: dict[str, Estimate]) -> None:
    prompt, score, oracle, _ = rows()
    i, j = np.triu_indices(60, 1)
    i, j = i[prompt[i] == prompt[j]], j[prompt[i] == prompt[j]]
    order = np.sign(oracle[i] - oracle[j])
    assert (order != 0).all()
    difference = order * (score[i] - score[j])
    best = optimize.minimize_scalar(lambda b: np.logaddexp(0, -b * difference).sum(), bounds=(0, 2), method="bounded")
    assert found["calibration_slope"].estimate == pytest.approx(best.x, abs=1e-5)
    assert found["calibration_temperature"].estimate == pytest.approx(1 / best.x, abs=1e-3)
    assert found["calibration_tempered_slope"].estimate == pytest.approx(1)
    tempered = np.mean((1 - 1 / (1 + np.exp(-difference * best.x))) ** 2)
    assert found["calibration_tempered_brier"].estimate == pytest.approx(tempered, abs=1e-6)


def test_a_temperature_that_may_be_negative_has_no_interval(found: dict[str, Estimate]) -> None:
    slope, temperature = found["calibration_slope"], found["calibration_temperature"]
    assert slope.lower is not None
    if slope.lower < -0.05:  # more than a tenth of the draws have no temperature
        assert temperature.lower is None or temperature.lower > 0
    assert temperature.estimate is not None

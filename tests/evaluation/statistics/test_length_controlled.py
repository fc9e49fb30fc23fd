"""The length-controlled win rate: the GLM against closed forms and simulated truths, refitted in every draw."""

import numpy as np
import pytest

from evaluation.statistics.bootstrap import Bootstrap, Floats
from evaluation.statistics.length_controlled import fit_logistic, instruction_difficulty, length_controlled


def once(rows: int) -> Floats:
    return np.ones((1, rows))


def sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)))


def test_without_differences_in_length_it_is_the_raw_win_rate() -> None:
    preference = np.array([1.0, 0.0, 0.25, 0.75, 1.0])
    assert length_controlled(preference, np.zeros(5), None, once(5))[0] == pytest.approx(0.6, abs=1e-3)


def test_a_win_rate_made_by_length_alone_becomes_even() -> None:
    difference = np.array([100.0, -100.0])
    weights = np.array([[900.0, 100.0]])
    # in 1000 battles the differences have mean 80 and variance 3600 * 1000 / 999
    length = np.tanh(difference / np.sqrt(3600 * 1000 / 999))
    preference = sigmoid(2.0 * length)
    raw = float((weights @ preference)[0] / 1000)
    assert raw > 0.75
    assert length_controlled(preference, difference, None, weights)[0] == pytest.approx(0.5, abs=1e-3)


def test_the_fit_finds_the_coefficients_that_made_the_probabilities() -> None:
    generator = np.random.default_rng(0)
    features = [np.ones((1, 400)), generator.uniform(-1, 1, (1, 400)), generator.standard_normal((1, 400))]
    target = sigmoid(0.4 * features[0] - 1.5 * features[1] + 0.8 * features[2])[0]
    found = fit_logistic(features, target, once(400))
    assert found[0] == pytest.approx([0.4, -1.5, 0.8], abs=2e-3)  # the weak prior takes a thousandth


def test_a_row_that_counts_twice_is_a_row_that_is_there_twice() -> None:
    generator = np.random.default_rng(1)
    preference, difference = generator.random(30), generator.standard_normal(30) * 200
    difficulty = generator.standard_normal(30)
    weights = generator.integers(1, 4, (1, 30)).astype(float)
    rows = np.repeat(np.arange(30), weights[0].astype(int))
    assert length_controlled(preference, difference, difficulty, weights) == pytest.approx(
        length_controlled(preference[rows], difference[rows], difficulty[rows], once(len(rows)))
    )


@pytest.mark.parametrize(("outcome", "bound"), [(1.0, 0.99), (0.0, 0.01)])
def test_a_model_that_always_wins_or_loses_has_a_finite_rate(outcome: float, bound: float) -> None:
    rate = length_controlled(np.full(50, outcome), np.arange(50.0), None, once(50))[0]
    assert abs(rate - outcome) <= abs(bound - outcome)


def test_verdicts_that_length_separates_perfectly_are_no_trap() -> None:
    difference = np.linspace(-500, 500, 60)
    rate = length_controlled((difference > 0).astype(float), difference, None, once(60))[0]
    assert rate == pytest.approx(0.5, abs=0.01)


def test_difficulty_is_found_from_several_models_and_not_from_their_lengths() -> None:
    generator = np.random.default_rng(2)
    n_models, n_instructions = 30, 60
    gamma = generator.standard_normal(n_instructions)
    model, instruction = (each.ravel() for each in np.mgrid[0:n_models, 0:n_instructions])
    difference = generator.standard_normal(model.size) * 300
    strength = np.linspace(-1, 1, n_models)[model]
    logits = strength + 1.5 * np.tanh(difference / 300) + gamma[instruction]
    found = instruction_difficulty(model, instruction, sigmoid(logits), difference, n_instructions + 1, 0.01)
    assert np.corrcoef(found[:-1], gamma)[0, 1] > 0.995
    assert np.polyfit(gamma, found[:-1], 1)[0] == pytest.approx(1, abs=0.02)
    assert found[-1] == 0  # nobody answered it


def test_a_stronger_penalty_draws_difficulties_to_zero() -> None:
    model, instruction = (each.ravel() for each in np.mgrid[0:3, 0:20])
    preference = (instruction % 2).astype(float)
    weak, strong = (
        instruction_difficulty(model, instruction, preference, np.zeros(60), 20, penalty) for penalty in (0.1, 10.0)
    )
    assert np.abs(strong).max() < np.abs(weak).max() / 3
    assert (np.sign(weak) == np.where(np.arange(20) % 2, 1, -1)).all()


def test_the_standard_error_knows_that_the_effect_of_length_is_estimated() -> None:
    """Over 200 simulated studies the rates scatter as the bootstrap says; AlpacaEval's own error says a third of it."""
    generator = np.random.default_rng(3)
    rates, errors, published = [], [], []
    for study in range(200):
        difficulty, difference = generator.standard_normal(150), 300 + 400 * generator.standard_normal(150)
        chance = sigmoid(0.2 + np.tanh(difference / 400) + difficulty)
        preference = (generator.random(150) < chance).astype(float)
        rates.append(length_controlled(preference, difference, difficulty, once(150))[0])
        if study < 20:
            draws = [
                length_controlled(preference, difference, difficulty, weights)
                for weights in Bootstrap(150, None, 200, study).weights(16)
            ]
            errors.append(np.concatenate(draws).std())
            length = np.tanh(difference / difference.std(ddof=1))
            fitted = fit_logistic([once(150), length[None], difficulty[None]], preference, once(150))[0]
            published.append(sigmoid(fitted[0] + fitted[2] * difficulty).std(ddof=1) / np.sqrt(150))
    scatter = np.std(rates)
    assert np.mean(errors) == pytest.approx(scatter, rel=0.2)
    assert np.mean(published) < 0.6 * scatter

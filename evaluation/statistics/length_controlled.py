"""The length-controlled win rate of AlpacaEval 2: what the win rate would be if both outputs were equally long.

Dubois, Galambosi, Liang and Hashimoto (2024), "Length-Controlled AlpacaEval", section 3: model m is preferred on
instruction x with probability

    sigma(theta_m + phi_m tanh(d_mx / sd(d_m)) + psi_m gamma_x),

d being the difference in length and gamma_x the difficulty of the instruction, known beforehand; the length-controlled
win rate is the mean over instructions of the same without the term of length. theta and psi of the baseline are 0.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.calibration import sigmoid

_RIDGE = 0.01
"""A normal prior of 10 logits on every coefficient: too weak to be seen, and a model that always wins stays finite."""

_LONGEST_STEP = 4.0
_STEPS = 100
_CONVERGED = 1e-8


def length_controlled(preference: Floats, difference: Floats, difficulty: Floats | None, weights: Floats) -> Floats:
    """The length-controlled win rate (draws,) of rows counted ``weights`` (draws, rows) times, refitted in each draw.

    ``preference`` (rows,) is in [0, 1], ``difference`` (rows,) in characters, ``difficulty`` (rows,) gamma or None to
    leave its term out. NaN where the fit of a draw does not converge.
    """
    length = np.tanh(difference / _spread(difference, weights))
    ones: Floats = np.ones_like(weights)
    features = [ones, length]
    if difficulty is not None:
        features.append(ones * difficulty)
    coefficients = fit_logistic(features, preference, weights)
    logits = coefficients[:, :1] * ones
    if difficulty is not None:
        logits += coefficients[:, 2:] * difficulty
    return np.asarray((weights * sigmoid(logits)).sum(axis=1) / weights.sum(axis=1))


def fit_logistic(features: Sequence[Floats], target: Floats, weights: Floats) -> Floats:
    """Maximum likelihood coefficients (draws, features) by Newton's method, in all draws at once.

    Features and weights are (draws, rows), the first feature being 1; ``target`` (rows,) holds probabilities.
    """
    size = len(features)
    coefficients: Floats = np.zeros((len(weights), size))
    mean = np.clip(weights @ target / weights.sum(axis=1), 1e-4, 1 - 1e-4)
    coefficients[:, 0] = np.log(mean / (1 - mean))
    hessian = np.empty((len(weights), size, size))
    step: Floats = np.full_like(coefficients, np.inf)
    for _ in range(_STEPS):
        expected = sigmoid(np.sum([each * coefficients[:, [i]] for i, each in enumerate(features)], axis=0))
        residual, curvature = weights * (target - expected), weights * expected * (1 - expected)
        gradient = np.stack([(residual * each).sum(axis=1) for each in features], axis=1) - _RIDGE * coefficients
        for i, one in enumerate(features):
            curved = curvature * one
            for j in range(i, size):
                hessian[:, i, j] = hessian[:, j, i] = np.einsum("dn,dn->d", curved, features[j])
        step = np.asarray(np.linalg.solve(hessian + _RIDGE * np.eye(size), gradient[:, :, None])[:, :, 0], np.float64)
        coefficients += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        if np.abs(step).max() < _CONVERGED:
            break
    coefficients[np.abs(step).max(axis=1) >= _CONVERGED] = np.nan
    return coefficients


def instruction_difficulty(
    model: Ints, instruction: Ints, preference: Floats, difference: Floats, n_instructions: int, penalty: float
) -> Floats:
    """gamma (n_instructions,) from battles of several models, rows (rows,) each with its model and instruction.

    Fits theta_m + phi_m tanh(d / sd(d_m)) + gamma_x jointly, psi being 1, with ``penalty`` / 2 times the sum of squared
    gamma. An instruction is easy where gamma is high; one without rows has 0.
    """
    models, number = np.unique(model, return_inverse=True)
    length = np.empty_like(difference)
    for each in range(len(models)):
        rows = number == each
        length[rows] = np.tanh(difference[rows] / _spread(difference[rows], np.ones((1, rows.sum())))[0])
    beta, gamma = np.zeros(2 * len(models)), np.zeros(n_instructions)

    def by_model(values: Floats) -> Floats:
        """Sums over a model's rows of ``values`` and of them times its length term, (2 models,)."""
        sums = [np.bincount(number, weights=each, minlength=len(models)) for each in (values, values * length)]
        return np.concatenate(sums)

    cross = np.empty((2 * len(models), n_instructions))
    corner = np.empty((2 * len(models), 2 * len(models)))
    for _ in range(_STEPS):
        expected = sigmoid(beta[number] + beta[len(models) + number] * length + gamma[instruction])
        residual, curvature = preference - expected, expected * (1 - expected)
        # gamma's block is diagonal, so it is eliminated and a small system in beta is left
        diagonal = np.bincount(instruction, weights=curvature, minlength=n_instructions) + penalty
        slope = np.bincount(instruction, weights=residual, minlength=n_instructions) - penalty * gamma
        for place, values in ((0, curvature), (len(models), curvature * length)):
            cells = np.bincount(number * n_instructions + instruction, weights=values, minlength=cross.size // 2)
            cross[place : place + len(models)] = cells.reshape(len(models), n_instructions)
        own, mixed = by_model(curvature).reshape(2, -1), by_model(curvature * length).reshape(2, -1)
        corner[:] = np.block([[np.diag(own[0]), np.diag(own[1])], [np.diag(mixed[0]), np.diag(mixed[1])]])
        corner += _RIDGE * np.eye(len(beta))
        reduced = corner - (cross / diagonal) @ cross.T
        step = np.linalg.solve(reduced, by_model(residual) - _RIDGE * beta - cross @ (slope / diagonal))
        down = (slope - cross.T @ step) / diagonal
        beta += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        gamma += np.clip(down, -_LONGEST_STEP, _LONGEST_STEP)
        if max(np.abs(step).max(initial=0), np.abs(down).max(initial=0)) < _CONVERGED:
            break
    return gamma


def _spread(difference: Floats, weights: Floats) -> Floats:
    """Standard deviation of the differences (draws, 1); infinite where they do not differ, so that tanh is 0."""
    total = weights.sum(axis=1)
    mean = weights @ difference / total
    squares = ((difference - mean[:, None]) ** 2 * weights).sum(axis=1) / np.maximum(total - 1, 1)
    return np.where(squares > 0, np.sqrt(squares), np.inf)[:, None]

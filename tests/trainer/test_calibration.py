"""One temperature, found where its likelihood is highest, or none where no temperature is."""

import math

import pytest

from trainer.calibration import fit_temperature, sigmoid


def test_the_temperature_maximises_the_likelihood_of_the_order() -> None:
    margins = [2.0, 1.0, 3.0, -1.0, 0.5, -0.2]
    temperature = fit_temperature(margins)
    assert temperature is not None

    def likelihood(t: float) -> float:
        return sum(-math.log(1 + math.exp(-margin / t)) for margin in margins)

    assert likelihood(temperature) > likelihood(temperature * 1.01)
    assert likelihood(temperature) > likelihood(temperature / 1.01)


def test_two_margins_can_be_solved_by_hand() -> None:
    # slope sum m sigmoid(-m/T) is zero where 2 sigmoid(-2/T) = sigmoid(1/T), that is e^(1/T) = x with
    # 2 (1 + x) = x (1 + x^2), x^3 - x - 2 = 0, x = 1.52138
    assert fit_temperature([2.0, -1.0]) == pytest.approx(1 / math.log(1.5213797068), abs=1e-6)


@pytest.mark.parametrize("margins", [[], [1.0, 2.0], [-1.0, -2.0], [1.0, -1.0], [0.0]])
def test_there_is_none_where_the_likelihood_has_no_maximum(margins: list[float]) -> None:
    assert fit_temperature(margins) is None


def test_the_logistic_function_overflows_on_neither_side() -> None:
    assert (sigmoid(-1e9), sigmoid(0.0), sigmoid(1e9)) == (0.0, 0.5, 1.0)

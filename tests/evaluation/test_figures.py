"""What is in a figure: every defined number once, gaps where there is none, bands where there is an interval."""

import json
import math
from typing import Any

import pytest

from evaluation.figures import correlation_by_temperature, forest, length_by_temperature, oracle_by_temperature
from evaluation.statistics.estimate import Estimate

GAP: dict[str, Any] = dict.fromkeys(["estimate", "lower", "upper", "standard_error"])


def estimate(scorer: str, temperature: float | None, value: float, **more: Any) -> Estimate:
    return Estimate(
        **{
            "scorer": scorer,
            "oracle": "gold",
            "statistic": "pearson_within",
            "temperature": temperature,
            "estimate": value,
            "lower": value - 0.1,
            "upper": value + 0.1,
            "standard_error": 0.05,
            "n_prompts": 10,
            "n_responses": 40,
            "n_dropped": 0,
            "method": "by hand",
            **more,
        }
    )


def traces(figure: Any) -> dict[str, dict[str, Any]]:
    """Named traces as they travel to a browser; numbers as lists."""
    content = json.loads(figure.to_json())
    return {trace["name"]: trace for trace in content["data"] if "name" in trace}


def bands(figure: Any, scorer: str) -> list[dict[str, Any]]:
    content = json.loads(figure.to_json())
    return [trace for trace in content["data"] if trace.get("fill") == "toself" and trace["legendgroup"] == scorer]


def test_each_scorer_is_a_line_over_temperature_in_order() -> None:
    rows = [
        estimate("rm", 2.0, 0.1),
        estimate("rm", 0.5, 0.6),
        estimate("length", 0.5, 0.2),
        estimate("length", 2.0, 0.3),
    ]
    other = [
        estimate("rm", 0.5, 0.9, statistic="pearson_pooled"),
        estimate("rm", 0.5, 0.9, oracle="judge"),
        estimate("rm", None, 0.9),
    ]
    found = traces(correlation_by_temperature([*rows, *other]))
    assert set(found) == {"rm", "length"}
    assert (found["rm"]["x"], found["rm"]["y"]) == ([0.5, 2.0], [0.6, 0.1])
    assert "r within" not in found["rm"]["text"][0]
    assert found["rm"]["text"][0] == "rm, T = 0.5<br>0.60 [0.50, 0.70]<br>40 responses, 10 prompts"


def test_trivial_controls_are_grey_and_learned_scorers_are_not() -> None:
    found = traces(correlation_by_temperature([estimate(name, 1.0, 0.2) for name in ("a", "b", "length", "truncated")]))
    grey = found["length"]["line"]["color"]
    assert found["truncated"]["line"]["color"] == grey
    assert found["length"]["line"]["dash"] != found["truncated"]["line"]["dash"]
    assert len({found["a"]["line"]["color"], found["b"]["line"]["color"], grey}) == 3
    assert found["a"]["marker"]["symbol"] != found["b"]["marker"]["symbol"]  # not by colour alone


def test_an_undefined_temperature_breaks_line_and_band() -> None:
    rows = [estimate("rm", t, 0.5) for t in (0.5, 0.7, 1.5, 2.0)]
    gap = estimate("rm", 1.0, 0, **GAP, undefined_reason="every score is the same")
    figure = correlation_by_temperature([*rows, gap])
    line = traces(figure)["rm"]
    assert line["y"] == [0.5, 0.5, None, 0.5, 0.5]
    assert line["connectgaps"] is False
    assert line["text"][2].endswith("undefined: every score is the same")
    first, second = bands(figure, "rm")
    assert (first["x"], first["y"]) == ([0.5, 0.7, 0.7, 0.5], pytest.approx([0.6, 0.6, 0.4, 0.4]))
    assert second["x"] == [1.5, 2.0, 2.0, 1.5]


def test_an_estimate_without_interval_is_an_open_marker() -> None:
    lone = {"lower": None, "upper": None, "standard_error": None, "undefined_reason": "an interval needs two prompts"}
    figure = correlation_by_temperature([estimate("rm", 1.0, 0.5), estimate("rm", 2.0, 0.4, **lone)])
    assert traces(figure)["rm"]["marker"]["symbol"] == ["circle", "circle-open"]


def test_the_axis_holds_every_interval_and_the_level_of_chance() -> None:
    figure = correlation_by_temperature([estimate("rm", 1.0, 0.8, statistic="pairwise_accuracy")], "pairwise_accuracy")
    low, high = figure.layout.yaxis.range
    assert low <= 0.5
    assert high >= 0.9
    assert figure.layout.shapes[0].y0 == 0.5


def test_length_is_shown_in_characters_and_truncation_in_percent() -> None:
    means = {"statistic": "mean"}
    rows = [
        estimate("length", 1.0, math.log1p(200), oracle="length", **means),
        estimate("truncated", 1.0, 0.25, oracle="truncated", **means),
    ]
    found = traces(length_by_temperature(rows))
    assert found["length"]["y"] == pytest.approx([200])
    assert found["truncated"]["y"] == pytest.approx([25])


def test_the_oracles_mean_is_its_own_figure() -> None:
    rows = [estimate("gold", t, 1 - t / 4, statistic="mean") for t in (0.0, 1.0, 2.0)]
    assert traces(oracle_by_temperature(rows, "gold"))["gold"]["y"] == [1.0, 0.75, 0.5]


def test_a_forest_shows_three_correlations_for_each_scorer_with_their_arms() -> None:
    rows = [
        estimate("rm", None, 0.4),
        estimate("rm", None, -0.2, statistic="pearson_between"),
        estimate("rm", None, 0.1, statistic="pearson_pooled", lower=-0.1, upper=0.2),
        estimate("length", None, 0.3),
    ]
    found = traces(forest(rows))
    assert found["r within prompts"]["x"] == [0.4, 0.3]
    assert found["r between prompts"]["x"] == [-0.2]
    assert found["r pooled"]["error_x"]["array"] == pytest.approx([0.1])
    assert found["r pooled"]["error_x"]["arrayminus"] == pytest.approx([0.2])
    assert len(set(found["r within prompts"]["y"])) == 2


@pytest.mark.parametrize("build", [correlation_by_temperature, forest, length_by_temperature])
def test_no_estimates_make_an_empty_figure(build: Any) -> None:
    assert json.loads(build([]).to_json())["layout"]

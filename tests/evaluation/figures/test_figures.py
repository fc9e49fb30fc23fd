"""What is in a figure: every defined number once, gaps where there is none, bands where there is an interval."""

import base64
import json
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from evaluation.figures import FIGURES, Drawing, Evidence, agreement_with, draw
from evaluation.figures.evidence import Responses, Series, spread_over
from evaluation.statistics.best_of_n import kl_bound
from evaluation.statistics.estimate import Comparison, CurvePoint, Estimate

GAP: dict[str, Any] = dict.fromkeys(["estimate", "lower", "upper", "standard_error"])


def numbers(value: float, temperature: float | None, **more: Any) -> dict[str, Any]:
    return {
        "oracle": "gold",
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


def estimate(scorer: str, temperature: float | None, value: float, **more: Any) -> Estimate:
    return Estimate(**{"scorer": scorer, "statistic": "pearson_within", **numbers(value, temperature), **more})


def mean(name: str, temperature: float | None, value: float, **more: Any) -> Estimate:
    return estimate(name, temperature, value, statistic="mean", oracle=name, **more)


def point(curve: str, x: float, value: float, temperature: float | None = 1.0, scorer: str = "rm") -> CurvePoint:
    return CurvePoint(scorer=scorer, curve=curve, x=x, **numbers(value, temperature))


def comparison(a: str, b: str, value: float, verdict: str, temperature: float | None = None) -> Comparison:
    return Comparison.model_validate(
        {"scorer_a": a, "scorer_b": b, "statistic": "pearson_within", "verdict": verdict, **numbers(value, temperature)}
    )


def content(drawing: Drawing) -> dict[str, Any]:
    """The figure as it travels to a browser, which plotly checks; numbers as lists, as a browser unpacks them."""
    go.Figure(json.loads(drawing.figure.to_json()))
    found = json.loads(drawing.figure.to_json(), object_hook=unpacked)
    assert isinstance(found, dict)
    return found


def unpacked(packed: dict[str, Any]) -> Any:
    if "bdata" not in packed:
        return packed
    numbers = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"])
    return [None if math.isnan(each) else pytest.approx(each, rel=1e-6) for each in numbers.tolist()]


def traces(drawing: Drawing, panel: str = "") -> dict[str, dict[str, Any]]:
    """Named traces of one panel, the first unless said."""
    found = content(drawing)["data"]
    return {trace["name"]: trace for trace in found if trace.get("name") and trace.get("xaxis", "x") == f"x{panel}"}


def bands(drawing: Drawing, scorer: str) -> list[dict[str, Any]]:
    found = content(drawing)["data"]
    return [trace for trace in found if trace.get("fill") == "toself" and trace["legendgroup"] == scorer]


def panels(drawing: Drawing) -> list[str]:
    return [each["text"] for each in content(drawing)["layout"].get("annotations", [])]


def only(evidence: Evidence, name: str) -> Drawing:
    [found] = [each for each in draw(evidence) if each.name == name]
    return found


def agreement(*estimates: Estimate, statistic: str = "pearson_within") -> Drawing:
    return agreement_with(Evidence(estimates), statistic, "gold")


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
        estimate("rm", 0.5, 0.9, stratum="untruncated"),
        estimate("rm", None, 0.9),
    ]
    found = traces(agreement(*rows, *other))
    assert set(found) == {"rm", "length"}
    assert (found["rm"]["x"], found["rm"]["y"]) == ([0.5, 2.0], [0.6, 0.1])
    assert found["rm"]["text"][0] == "rm, T = 0.5<br>0.60 [0.50, 0.70]<br>40 responses, 10 prompts"


def test_trivial_controls_are_grey_and_learned_scorers_are_not() -> None:
    names = ("a", "b", "length", "truncated")
    found = traces(agreement(*[estimate(name, t, 0.2) for name in names for t in (0.5, 1.0)]))
    grey = found["length"]["line"]["color"]
    assert found["truncated"]["line"]["color"] == grey
    assert found["length"]["line"]["dash"] != found["truncated"]["line"]["dash"]
    assert len({found["a"]["line"]["color"], found["b"]["line"]["color"], grey}) == 3
    assert found["a"]["marker"]["symbol"] != found["b"]["marker"]["symbol"]  # not by colour alone


def test_an_undefined_temperature_breaks_line_and_band() -> None:
    rows = [estimate("rm", t, 0.5) for t in (0.5, 0.7, 1.5, 2.0)]
    gap = estimate("rm", 1.0, 0, **GAP, undefined_reason="every score is the same")
    drawing = agreement(*rows, gap)
    line = traces(drawing)["rm"]
    assert line["y"] == [0.5, 0.5, None, 0.5, 0.5]
    assert line["connectgaps"] is False
    assert line["text"][2].endswith("undefined: every score is the same")
    first, second = bands(drawing, "rm")
    assert (first["x"], first["y"]) == ([0.5, 0.7, 0.7, 0.5], pytest.approx([0.6, 0.6, 0.4, 0.4]))
    assert second["x"] == [1.5, 2.0, 2.0, 1.5]


def test_an_estimate_without_interval_is_an_open_marker() -> None:
    lone = {"lower": None, "upper": None, "standard_error": None, "undefined_reason": "an interval needs two prompts"}
    drawing = agreement(estimate("rm", 1.0, 0.5), estimate("rm", 2.0, 0.4, **lone))
    assert traces(drawing)["rm"]["marker"]["symbol"] == ["circle", "circle-open"]


def test_the_axis_holds_every_interval_and_the_level_of_chance() -> None:
    drawing = agreement(estimate("rm", 1.0, 0.8, statistic="pairwise_accuracy"), statistic="pairwise_accuracy")
    low, high = drawing.figure.layout["yaxis"]["range"]
    assert low <= 0.5
    assert high >= 0.9
    assert drawing.figure.layout["shapes"][0]["y0"] == 0.5
    assert "the line at 0.5" in drawing.caption


def test_many_scorers_get_a_panel_each_with_the_controls_in_every_one() -> None:
    names = [f"scorer-{number}" for number in range(13)]
    rows = [estimate(name, t, 0.3) for name in [*names, "length"] for t in (0.5, 1.0)]
    drawing = agreement(*rows)
    assert panels(drawing) == names
    assert traces(drawing, "13")["scorer-12"]["y"] == [0.3, 0.3]
    assert traces(drawing, "13")["length"]["y"] == [0.3, 0.3]
    in_legend = [each["name"] for each in content(drawing)["data"] if each.get("name") and each["showlegend"]]
    assert in_legend == ["length"]


def test_untrained_networks_are_one_band_beside_what_they_are_twins_of() -> None:
    names = ["a", "b", "c", "d", "gan:chosen"]
    rows = [estimate(name, t, 0.3) for name in [*names, "gan:untrained"] for t in (0.5, 1.0)]
    drawing = agreement(*rows)
    assert "untrained" in traces(drawing, "5")
    assert "untrained" not in traces(drawing)
    assert panels(drawing) == names


def test_pooled_within_and_partial_stand_in_one_panel() -> None:
    rows = [
        estimate("rm", 1.0, 0.2),
        estimate("rm", 1.0, 0.5, statistic="pearson_pooled"),
        estimate("rm", 1.0, 0.1, statistic="pearson_within_partial_length"),
        estimate("length", 1.0, 0.9),
    ]
    drawing = only(Evidence(rows), "pooled-within-partial-gold")
    assert panels(drawing) == ["rm"]
    assert {name: trace["y"] for name, trace in traces(drawing).items()} == {
        "r within prompts": [0.2],
        "r pooled": [0.5],
        "r within, length held fixed": [0.1],
    }


def responses(**more: Any) -> Responses:
    fields: dict[str, Any] = {
        "temperature": np.array([0.5, 0.5, 2.0, 2.0]),
        "degenerate": np.array([False, False, False, True]),
        "scores": {"rm": np.array([1.0, 2.0, 3.0, np.nan]), "length": np.zeros(4)},
        "judgements": {"gold": np.array([0.1, 0.2, 0.3, 0.4])},
        "n_total": 4,
    }
    return Responses(**{**fields, **more})


def test_a_scatter_has_a_panel_for_each_temperature_and_marks_what_is_no_text() -> None:
    drawing = only(Evidence(responses=responses()), "scatter-gold-rm")
    assert panels(drawing) == ["T = 0.5", "T = 2"]
    assert (traces(drawing)["text"]["x"], traces(drawing)["text"]["y"]) == ([1, 2], [0.1, 0.2])
    assert traces(drawing, "2")["degenerate"]["y"] == [0.4]
    assert traces(drawing, "2")["degenerate"]["x"] == [None]
    assert traces(drawing, "2")["degenerate"]["showlegend"]
    assert "Shown are" not in drawing.caption


def scattered(temperatures: list[float]) -> Responses:
    n_rows = len(temperatures)
    columns = {"scores": {"rm": np.arange(n_rows) / 1.0}, "judgements": {"gold": np.ones(n_rows)}}
    degenerate = np.zeros(n_rows, dtype=bool)
    return responses(temperature=np.array(temperatures), degenerate=degenerate, n_total=n_rows, **columns)


def test_a_scatter_of_many_temperatures_is_spread_over_them_and_counts_what_it_shows() -> None:
    drawing = only(Evidence(responses=scattered([each / 10 for each in range(23)] * 2)), "scatter-gold-rm")
    # the places 0, 2, 4, ... 22
    assert panels(drawing) == [f"T = {each / 5:g}" for each in range(12)]
    assert drawing.caption.endswith("Shown are 24 of 46 responses, at 12 of 23 temperatures.")


def test_responses_without_a_temperature_have_a_panel_of_their_own() -> None:
    drawing = only(Evidence(responses=scattered([0.5, 0.5, float("nan")])), "scatter-gold-rm")
    assert panels(drawing) == ["T = 0.5", "no temperature"]
    assert traces(drawing, "2")["text"]["x"] == [2]
    assert "Shown are" not in drawing.caption
    assert panels(only(Evidence(responses=scattered([float("nan")] * 3)), "scatter-gold-rm")) == ["all responses"]
    many = [*(each / 10 for each in range(23)), float("nan")]
    crowded = only(Evidence(responses=scattered(many)), "scatter-gold-rm")
    assert (len(panels(crowded)), panels(crowded)[0], panels(crowded)[-1]) == (12, "T = 0", "no temperature")
    assert crowded.caption.endswith("Shown are 12 of 24 responses, at 11 of 23 temperatures.")


def test_a_sample_of_the_responses_says_that_it_is_one() -> None:
    drawings = draw(Evidence(responses=responses(n_total=9000)))
    assert all("4 of 9,000 responses" in each.caption for each in drawings)
    assert {each.name for each in drawings} == {"scatter-gold-rm", "distributions"}


def test_of_scatter_plots_alike_pages_show_the_first_and_image_files_every_one() -> None:
    two = responses(scores={name: np.arange(4.0) for name in ("one", "two")})

    def scatters(**more: bool) -> list[str]:
        return [each.name for each in draw(Evidence(responses=two, **more)) if each.name.startswith("scatter")]

    assert scatters() == ["scatter-gold-one"]
    assert scatters(every_alike=True) == ["scatter-gold-one", "scatter-gold-two"]


def test_a_distribution_is_its_quantiles_at_each_temperature() -> None:
    values = np.arange(101.0)
    drawing = only(
        Evidence(
            responses=Responses(np.ones(101), np.zeros(101, bool), {"rm": values}, {"gold": np.full(101, np.nan)}, 101)
        ),
        "distributions",
    )
    assert panels(drawing) == ["gold", "rm"]
    outer, inner, middle = (each for each in content(drawing)["data"] if each["xaxis"] == "x2")
    assert (outer["y"], inner["y"], middle["y"]) == ([95, 5], [75, 25], [50])


def test_best_of_n_is_drawn_over_the_bound_of_kl_with_its_ceiling() -> None:
    rows = [estimate("rm", 1.0, 0.2)]
    curves = [point(f"best_of_n_{curve}", n, n / 10) for curve in ("oracle", "proxy", "ceiling") for n in (4, 1, 2)]
    evidence = Evidence(rows, points=curves)
    oracle = traces(only(evidence, "best-of-n-oracle-gold"))
    assert oracle["T = 1"]["x"] == pytest.approx([0.0, math.log(2) - 0.5, math.log(4) - 0.75])
    assert kl_bound(4) == pytest.approx(math.log(4) - 0.75)
    assert oracle["T = 1"]["y"] == [0.1, 0.2, 0.4]
    assert oracle["T = 1"]["error_y"]["array"] == pytest.approx([0.1, 0.1, 0.1])
    assert oracle["T = 1, ceiling"]["line"]["dash"] == "dot"
    assert list(traces(only(evidence, "best-of-n-proxy-gold"))) == ["T = 1"]


def test_one_response_to_choose_from_is_no_choice() -> None:
    evidence = Evidence([estimate("rm", 0.0, 0.2)], points=[point("best_of_n_oracle", 1, 0.5, 0.0)])
    assert not [each for each in draw(evidence) if each.name.startswith("best-of-n")]


def test_reliability_is_drawn_beside_the_diagonal_in_percent() -> None:
    evidence = Evidence([estimate("rm", 1.0, 0.2)], points=[point("reliability", x, x) for x in (0.9, 0.6)])
    found = traces(only(evidence, "reliability-gold"))
    assert (found["T = 1"]["x"], found["T = 1"]["y"]) == ([60, 90], [60, 90])
    assert (found["calibrated"]["x"], found["calibrated"]["y"]) == ([50, 100], [50, 100])


def test_of_many_temperatures_the_lowest_and_the_highest_are_among_those_shown() -> None:
    assert spread_over([0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0], 4) == [0.3, 0.7, 1.5, 2.0]
    assert spread_over([1.0], 4) == [1.0]
    assert spread_over([], 4) == [None]


def test_length_is_shown_in_characters_and_shares_in_percent() -> None:
    rows = [mean("length", 1.0, math.log1p(200)), mean("truncated", 1.0, 0.25), mean("text_degenerate", 1.0, 0.5)]
    drawing = only(Evidence(rows), "texts")
    assert panels(drawing) == ["length, characters", "cut at the limit, %", "degenerate, %"]
    assert traces(drawing)["length, characters"]["y"] == pytest.approx([200])
    assert traces(drawing, "2")["cut at the limit, %"]["y"] == pytest.approx([25])


def test_the_oracles_mean_is_its_own_figure() -> None:
    rows = [estimate("rm", 1.0, 0.2), *(mean("gold", t, 1 - t / 4) for t in (0.0, 1.0, 2.0))]
    assert traces(only(Evidence(rows), "judgement-gold"))["gold"]["y"] == [1.0, 0.75, 0.5]


def test_two_policies_meet_once_with_the_line_of_a_draw() -> None:
    rows = [
        estimate("new", 1.0, 0.7, statistic="win_rate_over_old"),
        estimate("old", 1.0, 0.3, statistic="win_rate_over_new"),
        estimate("new", None, 0.6, statistic="win_rate_over_old"),
    ]
    drawing = only(Evidence(rows), "wins")
    assert drawing.title == "new over old"
    assert panels(drawing) == ["gold"]
    assert traces(drawing)["gold"]["y"] == [70]
    assert drawing.figure.layout["shapes"][0]["y0"] == 50


def test_ifeval_is_shown_raw_with_its_floor_and_corrected() -> None:
    rows = [
        mean("ifeval:prompt_strict", 1.0, 0.55),
        estimate("ifeval:prompt_strict", 1.0, 0.5, statistic="mean_above_floor", oracle="ifeval:prompt_strict"),
    ]
    drawing = only(Evidence(rows), "ifeval")
    raw, corrected = traces(drawing), traces(drawing, "3")
    assert raw["strict"]["y"] == pytest.approx([55])
    assert raw["floor, strict"]["y"] == pytest.approx([10, 10])  # (0.55 - 0.1) / 0.9 = 0.5
    assert corrected["strict"]["y"] == [50]


def test_differences_name_the_better_first_and_keep_their_arms() -> None:
    rows = [
        comparison("a", "b", -0.5, "worse", None).model_copy(update={"lower": -0.9, "upper": -0.4}),
        comparison("a", "c", 0.05, "not resolved"),
        comparison("a", "b", 0.9, "better", 1.0),
    ]
    drawing = only(Evidence(comparisons=rows), "differences-gold")
    found = traces(drawing)
    assert found["better"]["x"] == [0.5]
    assert found["better"]["error_x"]["array"] == pytest.approx([0.4])
    assert found["better"]["error_x"]["arrayminus"] == pytest.approx([0.1])
    assert drawing.figure.layout["yaxis"]["ticktext"] == ["b − a", "a − c"]
    assert set(found) == {"better", "not resolved"}


def test_missing_values_are_counted_against_all_responses() -> None:
    rows = [
        estimate("rm", 0.5, 0.2, n_constant_prompts=1),
        estimate("rm", 2.0, 0.2, n_constant_prompts=4),
        mean("rm", None, 0.1, n_dropped=20, n_total=80),
        mean("gold", None, 0.1, n_total=80),
    ]
    lacking, equal = content(only(Evidence(rows), "missing"))["data"]
    assert (lacking["x"], lacking["text"]) == ([25, 0], [" 20 of 80", " 0 of 80"])
    assert (equal["x"][0], equal["text"][0]) == (40, " 4 of 10 at T = 2")


def test_an_audit_without_temperatures_is_a_forest_of_three_correlations_for_each_scorer() -> None:
    rows = [
        estimate("rm", None, 0.4),
        estimate("rm", None, -0.2, statistic="pearson_between"),
        estimate("rm", None, 0.1, statistic="pearson_pooled", lower=-0.1, upper=0.2),
        estimate("length", None, 0.3),
    ]
    found = traces(only(Evidence(rows), "correlations-gold"))
    assert found["r within prompts"]["x"] == [0.4, 0.3]
    assert found["r between prompts"]["x"] == [-0.2]
    assert found["r pooled"]["error_x"]["array"] == pytest.approx([0.1])
    assert found["r pooled"]["error_x"]["arrayminus"] == pytest.approx([0.2])
    assert len(set(found["r within prompts"]["y"])) == 2
    assert not [each for each in draw(Evidence([*rows, estimate("rm", 1.0, 0.4)])) if each.name == "correlations-gold"]


def test_training_is_drawn_by_family_of_metrics() -> None:
    metrics = [
        Series("train", "rewards/margins", [(1, 0.1), (2, 0.3)]),
        Series("train", "discriminator/chosen/loss", [(1, 1.4), (2, 1.2)]),
        Series("train", "discriminator/rejected/loss", [(1, 1.5), (2, 1.3)]),
        *(
            Series("train", f"reward_model/{each}/accuracy", [(1, 0.5)])
            for each in ("accepted", "rejected", "generated")
        ),
        Series("train", "step_seconds", [(1, 9.0)]),
    ]
    drawing = only(Evidence(metrics=metrics), "training-train")
    assert panels(drawing) == ["margin", "discriminator losses", "reward model's accuracy"]
    assert set(traces(drawing, "3")) == {"accepted", "rejected", "generated"}
    assert traces(drawing)["rewards/margins"]["y"] == [0.1, 0.3]
    losses = traces(drawing, "2")
    assert (losses["chosen"]["y"], losses["rejected"]["y"]) == ([1.4, 1.2], [1.5, 1.3])


def test_a_colour_means_one_thing_in_a_run_of_ganpo() -> None:
    names = ["loss", "rewards/chosen", "rewards/rejected", "grad_norm", "discriminator/grad_norm"]
    names += ["adversarial/objective_gradient_norm", "adversarial/gradient_norm"]
    drawing = only(Evidence(metrics=[Series("train", name, [(1, 0.5)]) for name in names]), "training-train")
    assert len({trace["marker"]["color"] for trace in content(drawing)["data"]}) == len(names)


def test_a_long_course_is_pale_under_its_running_mean() -> None:
    steps = [(step, float(step % 2)) for step in range(200)]
    pale, drawn = content(only(Evidence(metrics=[Series("train", "loss", steps)]), "training-train"))["data"]
    assert (pale["opacity"], pale["y"][:3]) == (0.3, [0, 1, 0])
    assert drawn["y"][100] == pytest.approx(12 / 25)  # an even step in the middle of 25 has 13 even neighbours with it


def test_points_of_a_single_temperature_stand_in_the_middle_and_do_not_cover_each_other() -> None:
    partial = "pearson_within_partial_length"
    rows = [
        *(estimate(f"s{number}", 1.0, 0.2) for number in range(2)),
        *(estimate("s0", 1.0, 0.2, statistic=statistic) for statistic in ("pearson_pooled", partial)),
        estimate("length", 1.0, 0.1),
    ]
    drawing = only(Evidence(rows), "agreement-gold")
    # a panel for each scorer, the control a level from side to side
    assert panels(drawing) == ["s0", "s1"]
    assert content(drawing)["layout"]["xaxis"]["range"] == [0.5, 1.5]
    assert content(drawing)["layout"]["xaxis"]["tickvals"] == [1.0]
    found = traces(drawing)
    assert (found["s0"]["x"], found["s0"]["mode"]) == ([1.0], "lines+markers")
    assert (found["length"]["x"], found["length"]["y"], found["length"]["mode"]) == ([0.5, 1.5], [0.1, 0.1], "lines")
    # three ways to ask stand beside each other
    beside = traces(only(Evidence(rows), "pooled-within-partial-gold"))
    assert [trace["x"] for trace in beside.values()] == [[0.9], [1.0], [1.1]]


def test_three_ways_to_ask_are_not_drawn_where_all_are_undefined() -> None:
    names = ("pearson_within", "pearson_pooled")
    nowhere = [estimate("rm", 1.0, 0.0, **GAP, statistic=name, undefined_reason="all equal") for name in names]
    assert [each.name for each in draw(Evidence(nowhere))] == ["agreement-gold"]


def test_no_evidence_makes_no_drawing_and_a_figure_asked_for_by_name_says_so() -> None:
    assert len(FIGURES) == 14
    assert draw(Evidence()) == []
    [words] = agreement().figure.layout["annotations"]
    assert words["text"] == "no r within prompts with gold at any temperature"


def test_a_statistic_that_is_nowhere_defined_has_no_axes_to_be_misread() -> None:
    nowhere = [estimate("rm", t, 0.0, **GAP, undefined_reason="all equal") for t in (0.0, 1.0)]
    drawing = only(Evidence(nowhere), "agreement-gold")
    (words,) = drawing.figure.layout["annotations"]
    assert words["text"] == "no r within prompts with gold at any temperature"
    assert not drawing.figure.data


def test_every_drawing_has_a_caption_and_a_name_of_its_own_that_is_fit_for_a_file() -> None:
    rows = [
        estimate(f"a/{number}:b", t, 0.1, oracle=oracle)
        for number in range(6)
        for t in (0.5, 1.0)
        for oracle in ("x", "y/z")
    ]
    scores = {f"a/{number}:b": np.arange(4.0) for number in range(6)}
    drawings = draw(Evidence(rows, responses=responses(scores=scores), every_alike=True))
    names = [each.name for each in drawings]
    assert len(set(names)) == len(names) > 6
    assert all(each.caption.endswith((".", ".")) and len(each.caption) > 60 for each in drawings)
    assert not [name for name in names if "/" in name or ":" in name]

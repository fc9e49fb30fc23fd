"""Verdicts from intervals set by hand: what is claimed, and what is not."""

from typing import Any

from evaluation.statistics.estimate import Estimate
from evaluation.verdict import verdict
from evaluation.wording import Reading, reading

GAP: dict[str, Any] = dict.fromkeys(["estimate", "lower", "upper", "standard_error"])


def estimate(scorer: str, lower: float, upper: float, temperature: float | None = None, **more: Any) -> Estimate:
    return Estimate(
        **{
            "scorer": scorer,
            "oracle": "gold",
            "statistic": "pearson_within",
            "temperature": temperature,
            "estimate": (lower + upper) / 2,
            "lower": lower,
            "upper": upper,
            "standard_error": (upper - lower) / 4,
            "n_prompts": 10,
            "n_responses": 40,
            "n_dropped": 0,
            "method": "by hand",
            **more,
        }
    )


def undefined(scorer: str, reason: str, temperature: float | None = None) -> Estimate:
    return estimate(scorer, 0, 0, temperature).model_copy(update={**GAP, "undefined_reason": reason})


def lead(scorer: str, control: str, lower: float, upper: float, temperature: float | None = None) -> Estimate:
    return estimate(scorer, lower, upper, temperature, statistic=f"pearson_within_lead_over_{control}")


def test_an_interval_is_above_chance_below_it_or_not_resolved() -> None:
    assert reading(estimate("s", 0.01, 0.2)) is Reading.ABOVE
    assert reading(estimate("s", -0.2, -0.01)) is Reading.BELOW
    assert reading(estimate("s", -0.1, 0.2)) is Reading.UNRESOLVED
    assert reading(undefined("s", "no prompt has two responses")) is Reading.UNDEFINED
    accuracy = "pairwise_accuracy"
    assert reading(estimate("s", 0.4, 0.45, statistic=accuracy)) is Reading.BELOW  # one half is what guessing gives
    assert reading(estimate("s", 0.55, 0.6, statistic=accuracy)) is Reading.ABOVE


def test_the_headline_is_about_the_scorer_that_is_surest_where_it_is_weakest() -> None:
    rows = [
        estimate("bold", 0.8, 0.9, 0.5),
        estimate("bold", 0.01, 0.2, 2.0),
        estimate("steady", 0.4, 0.5, 0.5),
        estimate("steady", 0.3, 0.4, 2.0),
    ]
    assert verdict(rows).headline == (
        "steady orders responses to the same prompt as gold does at every T from 0.5 to 2; "
        "weakest at T = 2, r = 0.35 [0.30, 0.40]."
    )


def test_a_scorer_is_weakest_where_its_interval_starts_lowest_and_not_where_its_r_is_least() -> None:
    rows = [estimate("s", 0.01, 0.15, 0.3), estimate("s", 0.02, 0.12, 0.5)]
    assert verdict(rows).headline.endswith("at every T from 0.3 to 0.5; weakest at T = 0.3, r = 0.08 [0.01, 0.15].")


def test_a_temperature_at_which_nothing_is_defined_is_no_part_of_the_agreement_and_is_named() -> None:
    gap = "responses to one prompt are alike"

    def told(*undefined_at: float) -> str:
        rows = [
            undefined("s", gap, t) if t in undefined_at else estimate("s", 0.4 - t / 10, 0.6 - t / 10, t)
            for t in (0.3, 1.0, 1.5, 2.0)
        ]
        return verdict(rows).headline.removeprefix("s orders responses to the same prompt as gold does ")

    assert told() == "at every T from 0.3 to 2; weakest at T = 2, r = 0.30 [0.20, 0.40]."
    assert told(1.5) == "at T = 0.3 to 1 and 2; weakest at T = 2, r = 0.30 [0.20, 0.40]; undefined at T = 1.5."
    assert told(2.0) == "at T = 0.3 to 1.5; weakest at T = 1.5, r = 0.35 [0.25, 0.45]; undefined at T = 2."
    assert told(0.3, 1.0, 2.0) == "at T = 1.5, r = 0.35 [0.25, 0.45]; undefined at T = 0.3 to 1 and 2."


def test_where_trust_ends_or_never_begins_undefined_temperatures_are_named_too() -> None:
    cold, end = undefined("s", "alike", 0.3), estimate("s", -0.1, 0.3, 2.0)
    assert verdict([cold, estimate("s", 0.4, 0.5, 0.5), end]).headline.endswith(
        "up to T = 0.5; at T = 2 that is not resolved, r = 0.10 [−0.10, 0.30]; undefined at T = 0.3."
    )
    assert verdict([cold, end]).headline == (
        "Whether s orders responses to the same prompt as gold does is not resolved at T = 2, r = 0.10 [−0.10, 0.30],"
        " the lowest at which it is defined; undefined at T = 0.3."
    )


def test_that_one_greedy_response_orders_nothing_is_no_finding() -> None:
    greedy = "no prompt has two responses"
    path = [undefined("s", greedy, 0.0), estimate("s", 0.4, 0.5, 0.5), estimate("s", 0.3, 0.4, 2.0)]
    leads = [lead("s", "length", 0.1, 0.2, t) for t in (0.5, 2.0)]
    cold = undefined("s", greedy, 0.0).model_copy(update={"statistic": leads[0].statistic})
    found = verdict([*path, cold, *leads])
    assert "at every T from 0.5 to 2; weakest at T = 2" in found.headline
    assert found.findings == ["s beats every trivial control (length) at every temperature."]


def test_trust_ends_where_the_interval_first_holds_zero() -> None:
    rows = [estimate("s", 0.4, 0.5, 0.5), estimate("s", -0.1, 0.3, 1.0), estimate("s", 0.2, 0.4, 2.0)]
    assert verdict(rows).headline == (
        "s orders responses to the same prompt as gold does up to T = 0.5; "
        "at T = 1 that is not resolved, r = 0.10 [−0.10, 0.30]."
    )


def test_an_inverted_order_is_called_so_and_never_trusted_is_too() -> None:
    rows = [estimate("s", 0.4, 0.5, 0.5), estimate("s", -0.5, -0.3, 2.0)]
    assert "at T = 2 it orders them the other way round, r = −0.40 [−0.50, −0.30]" in verdict(rows).headline
    assert verdict(rows[1:]).headline.startswith(
        "s cannot be trusted to order responses to the same prompt as gold does: at T = 2"
    )


def test_a_scorer_that_does_not_beat_a_trivial_control_is_reported_so() -> None:
    path = [estimate("model", 0.4, 0.5, t) for t in (0.5, 1.0, 1.5, 2.0)]
    leads = [
        lead("model", "length", 0.1, 0.2, 0.5),
        lead("model", "length", 0.1, 0.2, 1.0),
        lead("model", "length", -0.1, 0.2, 1.5),
        lead("model", "length", -0.3, -0.2, 2.0),
        *(lead("model", "zlib_ratio", 0.1, 0.2, t) for t in (0.5, 1.0, 1.5, 2.0)),
    ]
    assert verdict([*path, *leads]).findings == [
        "model does not beat every trivial control: ahead of all at T = 0.5 to 1, "
        "not resolved against length at T = 1.5, behind length at T = 2."
    ]


def test_a_lead_that_is_undefined_somewhere_is_not_one_at_every_temperature() -> None:
    path = [estimate("model", 0.4, 0.5, t) for t in (0.5, 1.0, 2.0)]
    ahead = [lead("model", control, 0.1, 0.2, t) for control in ("length", "zlib_ratio") for t in (0.5, 1.0, 2.0)]
    assert verdict([*path, *ahead]).findings == [
        "model beats every trivial control (length and zlib_ratio) at every temperature."
    ]

    gap = ahead[4].model_copy(update=GAP)  # zlib_ratio at T = 1
    assert verdict([*path, *ahead[:4], gap, ahead[5]]).findings == [
        "model beats every trivial control (length and zlib_ratio) at T = 0.5 and 2; "
        "undefined against zlib_ratio at T = 1."
    ]
    behind = lead("model", "length", -0.3, -0.2, 2.0)
    assert verdict([*path, *ahead[:2], behind, ahead[3], gap, ahead[5]]).findings == [
        "model does not beat every trivial control: ahead of all at T = 0.5, "
        "undefined against zlib_ratio at T = 1, behind length at T = 2."
    ]


def test_a_control_that_gives_all_responses_one_value_is_none_to_beat_there() -> None:
    path = [estimate("model", 0.4, 0.5, t) for t in (0.5, 2.0)]
    leads = [lead("model", control, 0.1, 0.2, t) for control in ("length", "truncated") for t in (0.5, 2.0)]
    constant = undefined("truncated", "no prompt's scores differ", 0.5)
    leads[2] = leads[2].model_copy(update=GAP)  # over truncated at T = 0.5
    assert verdict([*path, *leads, constant]).findings[0] == (
        "model beats every trivial control (length and truncated) at every temperature."
    )


def test_a_control_that_is_defined_nowhere_is_not_said_to_be_beaten() -> None:
    rows = [estimate("model", 0.4, 0.5), lead("model", "length", 0.1, 0.2)]
    rows += [lead("model", "zlib_ratio", 0.1, 0.2).model_copy(update=GAP)]
    assert verdict(rows).findings == ["model beats every trivial control (length)."]


def test_a_scorer_that_beats_them_all_is_reported_so() -> None:
    rows = [estimate("model", 0.4, 0.5), lead("model", "length", 0.1, 0.2), lead("model", "zlib_ratio", 0.3, 0.4)]
    found = verdict(rows)
    assert found.headline == "model orders responses to the same prompt as gold does: r = 0.45 [0.40, 0.50]."
    assert found.findings == ["model beats every trivial control (length and zlib_ratio)."]


def test_a_lead_says_on_how_many_responses_it_was_found_where_some_lack_a_score() -> None:
    short = {"n_responses": 1030, "n_dropped": 10}
    rows = [estimate("model", 0.3, 0.5, **short), estimate("length", 0.4, 0.6)]
    rows += [lead("model", "length", 0.1, 0.2).model_copy(update=short)]

    assert verdict(rows).findings == [
        "model beats every trivial control (length) on the 1,030 responses that both could score."
    ]


def test_controls_never_lead_where_a_model_was_scored() -> None:
    rows = [estimate("length", 0.8, 0.9, 1.0), estimate("model", 0.1, 0.2, 1.0)]
    assert verdict(rows).headline.startswith("model ")
    assert verdict(rows[:1]).findings == ["Only trivial controls were scored."]


def test_what_is_not_resolved_is_not_claimed() -> None:
    assert verdict([estimate("s", -0.1, 0.2)]).headline == (
        "Whether s orders responses to the same prompt as gold does is not resolved: r = 0.05 [−0.10, 0.20]."
    )


def test_one_response_per_prompt_falls_back_on_pooled_and_says_so() -> None:
    rows = [
        undefined("s", "no prompt has two responses", 1.0),
        estimate("s", 0.4, 0.5, 1.0, statistic="pearson_pooled"),
    ]
    found = verdict(rows)
    assert found.headline == "s orders responses as gold does at T = 1, r = 0.45 [0.40, 0.50]."
    assert any("Within prompts nothing is defined" in finding for finding in found.findings)


def test_a_reversal_between_prompts_is_pointed_out() -> None:
    rows = [
        estimate("s", 0.3, 0.4),
        estimate("s", -0.4, -0.2, statistic="pearson_between"),
        estimate("s", 0.1, 0.2, statistic="pearson_pooled"),
    ]
    [finding] = verdict(rows).findings
    assert finding == (
        "Pooling hides two opposite facts about s: within prompts r = 0.35 [0.30, 0.40], "
        "between prompts r = −0.30 [−0.40, −0.20], pooled r = 0.15 [0.10, 0.20]."
    )
    agreeing = [rows[0], estimate("s", -0.1, 0.2, statistic="pearson_between"), rows[2]]
    assert verdict(agreeing).findings == []


def test_oracles_that_disagree_are_told_of() -> None:
    rows = [
        estimate("s", 0.3, 0.4, 1.0),
        estimate("s", 0.3, 0.4, 2.0),
        estimate("s", 0.3, 0.4, 1.0, oracle="judge"),
        estimate("s", -0.3, 0.4, 2.0, oracle="judge"),
    ]
    assert verdict(rows).findings == ["The oracles gold and judge lead to the same reading in 1 of 2 comparisons."]
    assert "at T = 2 that is not resolved" in verdict(rows, "judge").headline


def test_nothing_and_nothing_defined_are_said_plainly() -> None:
    assert verdict([]).headline == "Nothing was estimated."
    found = verdict([undefined("s", "every score is the same")])
    assert found.headline == "s against gold: r undefined: every score is the same."


def test_a_discriminator_is_compared_with_the_untrained_ones_beside_it_and_they_are_nobodys_headline() -> None:
    rows = [
        estimate("d:chosen", 0.3, 0.5, 0.5),
        estimate("d:chosen", 0.1, 0.3, 2.0),
        estimate("d:rejected", 0.1, 0.2, 0.5),
        estimate("d:untrained", -0.2, 0.25, 0.5),
        estimate("d:untrained", -0.2, 0.25, 2.0),
        estimate("rm", -0.9, -0.8, 0.5),
    ]

    found = verdict(rows)

    assert found.headline.startswith("d:")
    assert not any(finding.startswith("d:untrained") for finding in found.findings)
    assert found.findings[-2:] == [
        "d:chosen agrees better than every untrained discriminator beside it at T = 0.5; elsewhere not resolved.",
        "Whether d:rejected agrees better than every untrained discriminator beside it is not resolved.",
    ]


def test_untrained_ones_of_all_responses_are_compared_where_no_temperature_was_recorded() -> None:
    rows = [estimate("d:chosen", 0.3, 0.5), estimate("d:untrained", -0.2, 0.25)]

    assert "d:chosen agrees better than every untrained discriminator beside it." in verdict(rows).findings


def test_numbers_of_another_kind_are_not_called_nothing() -> None:
    rate = estimate("model", 0.5, 0.7, statistic="win_rate")
    assert verdict([rate]).headline == "No agreement was estimated; the numbers stand below."

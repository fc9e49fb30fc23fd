"""The history finds, orders and combines the same on both databases, and says what it is not sure of."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session, sessionmaker

from evaluation.conditions import OF_ESTIMATES, parse_condition, parse_tree
from evaluation.statistics.estimate import Estimate
from service.db import history_filter
from service.db.history import SORTS, Order, fingerprint, rows_page, stream_rows
from service.db.history_choices import scorers_of, values_of
from service.db.history_filter import FIELDS, HistoryFilter
from service.db.history_grouping import Grouping
from service.db.history_groups import HistoryGroup, groups_page, stream_groups
from service.db.records import CorrelationRecord
from service.db.session import writing
from service.db.tables import Correlation
from trainer.errors import InvalidInput

Correlate = Callable[..., str]

THURSDAY = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING, NEWEST = HistoryFilter(), Order()


@pytest.fixture
def session(make_session: sessionmaker[Session]) -> Iterator[Session]:
    with make_session() as session:
        yield session


def where(condition: str) -> HistoryFilter:
    return HistoryFilter(where=parse_tree(condition, FIELDS))


def found(session: Session, filter_: HistoryFilter = EVERYTHING, order: Order = NEWEST) -> list[Any]:
    """Estimates of all that fit, read two at a time."""
    seen: list[CorrelationRecord] = []
    cursor = None
    while True:
        page = rows_page(session, filter_, order, cursor=cursor, limit=2)
        assert len(page.data) <= 2
        seen += page.data
        cursor = page.next
        if cursor is None:
            return [row.estimate for row in seen]


def one(session: Session, agg: Any, filter_: HistoryFilter | None = None) -> HistoryGroup:
    """The only group there is by statistic."""
    [group] = groups_page(session, filter_ or HistoryFilter(), Grouping(["statistic"], agg)).data
    return group


def test_newest_first_and_rows_of_one_moment_in_the_order_of_runs_and_files(
    session: Session, correlate: Correlate
) -> None:
    correlate([{"estimate": 0.1}, {"estimate": 0.2}, {"estimate": 0.3}], THURSDAY, id="run_a")
    correlate([{"estimate": 0.4}, {"estimate": 0.5}], THURSDAY, id="run_b")
    correlate([{"estimate": 0.6}], THURSDAY + timedelta(microseconds=1), id="run_0")

    assert found(session) == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert found(session, order=Order("created_at", descending=False)) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize("descending", [False, True])
def test_what_is_missing_comes_last_in_either_direction_and_no_page_loses_it(
    session: Session, correlate: Correlate, descending: bool
) -> None:
    values = [0.3, None, 0.1, None, 0.3, None, 0.2]
    correlate([{"estimate": each} if each else {"undefined_reason": "constant"} for each in values])

    known = sorted((each for each in values if each), reverse=descending)
    assert found(session, order=Order("estimate", descending)) == [*known, None, None, None]


@pytest.mark.parametrize("name", SORTS)
def test_every_column_sorts_all_rows_once(session: Session, correlate: Correlate, name: str) -> None:
    for day in range(3):
        rows = [{"estimate": 0.1 * n, "temperature": t} for n, t in enumerate((0.5, None, 1.0), 3 * day)]
        correlate(rows, THURSDAY + day * DAY, id=f"run_{day}")

    for descending in (False, True):
        assert len({*found(session, order=Order(name, descending))}) == 9


def test_filters_all_hold_and_any_value_of_each(session: Session, correlate: Correlate) -> None:
    correlate([{"scorer": "a", "estimate": 0.1}, {"scorer": "b", "estimate": 0.2}], THURSDAY, labels={"team": "x"})
    correlate(
        [
            {"scorer": "a", "estimate": 0.3, "temperature": None},
            {"scorer": "c", "scorer_version": None, "estimate": 0.4, "temperature": 2.0, "policy": None},
        ],
        THURSDAY + DAY,
        name="weekly",
        labels={"team": "y", "area": "chat"},
    )

    def those(**fields: Any) -> list[Any]:
        return sorted(found(session, HistoryFilter(**fields)))

    assert those() == [0.1, 0.2, 0.3, 0.4]
    assert those(values={"scorer": ["a", "b"]}) == [0.1, 0.2, 0.3]
    assert those(values={"scorer": ["a", "c"], "temperature": [None, 2.0]}) == [0.3, 0.4]
    assert those(values={"temperature": [None]}) == [0.3]
    assert those(values={"scorer_version": [None]}) == [0.4]
    assert those(values={"name": ["weekly"]}) == [0.3, 0.4]
    assert those(labels={"team": ["x", "y"]}) == [0.1, 0.2, 0.3, 0.4]
    assert those(labels={"team": ["y"], "area": ["search"]}) == []
    assert those(temperature_min=1.0, temperature_max=1.5) == [0.1, 0.2]
    assert those(created_after=THURSDAY + DAY) == [0.3, 0.4]
    assert those(created_before=THURSDAY + DAY) == [0.1, 0.2]


CONDITIONS = [
    "temperature >= 1.5 or scorer == 'b'",
    "not temperature >= 1.5",
    "temperature == null",
    "temperature != 2",
    "not (scorer == a and temperature != null)",
    "scorer == a and (temperature < 2 or estimate > 0.25) and n_prompts >= 10",
    "lower == null or estimate <= 0.25",
    "not not estimate < 0.25",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_means_what_the_gate_means_by_it(session: Session, correlate: Correlate, condition: str) -> None:
    correlate(
        [
            {"scorer": scorer, "temperature": temperature, **numbers}
            for scorer in "ab"
            for temperature in (None, 1.0, 2.0)
            for numbers in ({"estimate": 0.2}, {"estimate": 0.3}, {"undefined_reason": "constant"})
        ]
    )
    holds = parse_condition(condition)
    fields = set(Estimate.model_fields)
    everything = rows_page(session, HistoryFilter(), limit=100).data
    expected = [row for row in everything if holds(Estimate.model_validate(row.model_dump(include=fields)))]

    assert rows_page(session, where(condition), limit=100).data == expected
    assert 0 < len(expected) < len(everything)


def test_a_condition_reaches_times_jobs_and_labels(session: Session, correlate: Correlate) -> None:
    correlate([{"estimate": 0.1}], THURSDAY, labels={"team": "x"})
    correlate([{"estimate": 0.2, "scorer_version": 3}], THURSDAY + DAY, name="weekly", labels={"team": "y"})
    correlate([{"estimate": 0.3}], THURSDAY + 2 * DAY)

    def those(condition: str) -> list[Any]:
        return sorted(found(session, where(condition)))

    assert those("created_at >= 2026-11-27") == [0.2, 0.3]
    assert those("created_at < '2026-11-26T10:30:01+01:00'") == [0.1]
    assert those("label.team == x or name == weekly") == [0.1, 0.2]
    assert those("label.team == null") == [0.3]
    assert those("not label.team != y") == [0.2]
    assert those("scorer_version == 3 and name != nightly") == [0.2]
    for wrong in ("created_at > yesterday", "label. == x", "team == x", "name > a"):
        with pytest.raises(InvalidInput, match="condition"):
            parse_tree(wrong, FIELDS)
    assert OF_ESTIMATES.kind("label.team") is None


@pytest.mark.parametrize("few", [1, 50])
def test_jobs_that_are_named_and_jobs_that_are_looked_for_give_the_same_rows(
    session: Session, correlate: Correlate, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(history_filter, "_FEW", few)
    for number in range(4):
        team = "x" if number % 2 else "y"
        at = THURSDAY + number * DAY
        correlate(
            [{"estimate": number / 10, "temperature": t} for t in (1.0, 2.0)], at, labels={"team": team}, name=team
        )

    assert found(session, HistoryFilter(labels={"team": ["x"]})) == [0.3, 0.3, 0.1, 0.1]
    assert found(session, HistoryFilter(values={"name": ["y"]}, temperature_min=1.5)) == [0.2, 0.0]
    condition = "not label.team == x or name == x and estimate > 0.2"
    assert found(session, where(condition)) == [0.3, 0.3, 0.2, 0.2, 0.0, 0.0]
    assert found(session, HistoryFilter(labels={"team": ["nobody"]})) == []
    grouped = one(session, "count", HistoryFilter(labels={"team": ["x", "y"]}))
    assert (grouped.n_rows, grouped.n_runs) == (8, 4)


def test_the_latest_is_told_even_where_it_is_undefined(session: Session, correlate: Correlate) -> None:
    correlate([{"estimate": 0.5}], THURSDAY)
    last = correlate([{"undefined_reason": "every score is the same"}], THURSDAY + DAY)

    group = one(session, "latest")
    assert (group.estimate, group.undefined_reason, group.chosen_run) == (None, "every score is the same", last)
    assert (group.n_rows, group.n_undefined, group.n_used) == (2, 1, 0)
    assert (group.first_at, group.last_at) == (THURSDAY, THURSDAY + DAY)


def test_the_least_and_the_greatest_are_rows_with_their_own_intervals_and_say_they_were_chosen(
    session: Session, correlate: Correlate
) -> None:
    least = correlate([{"estimate": 0.2, "lower": 0.1, "upper": 0.3, "temperature": 1.5}], THURSDAY)
    greatest = correlate([{"estimate": 0.7, "lower": 0.6, "upper": 0.8}, {"undefined_reason": "constant"}], THURSDAY)

    low, high = one(session, "min"), one(session, "max")
    assert (low.estimate, low.lower, low.upper, low.chosen_run) == (0.2, 0.1, 0.3, least)
    assert low.chosen_temperature == 1.5
    assert (high.estimate, high.lower, high.upper, high.chosen_run) == (0.7, 0.6, 0.8, greatest)
    assert (low.chosen_scorer, low.chosen_oracle, low.chosen_stratum) == ("rm", "judge", "all")
    assert low.method == "by hand; the least of 2, its interval not widened for the choice"


def test_of_equals_the_latest_is_chosen_and_of_undefined_ones_too(session: Session, correlate: Correlate) -> None:
    tied = [{"estimate": 0.2, "oracle": oracle} for oracle in ("first", "last")]
    undefined = [{"statistic": "mean", "policy": None, "oracle": name, "undefined_reason": name} for name in "ab"]
    for day in range(2):
        run = correlate([*tied, {"estimate": 0.3}, *undefined, *undefined[:1]], THURSDAY + day * DAY)
    correlate([{"estimate": 0.2}, undefined[0]], THURSDAY - DAY)

    for filter_ in (EVERYTHING, HistoryFilter(created_after=THURSDAY)):
        for agg in ("min", "max"):
            page = groups_page(session, filter_, Grouping(["statistic", "policy"], agg)).data
            by_statistic = {group.group["statistic"]: group for group in page}
            missing, found = by_statistic["mean"], by_statistic["pearson_within"]
            assert (missing.estimate, missing.undefined_reason, missing.chosen_run) == (None, "a", run)
            assert found.estimate == (0.2 if agg == "min" else 0.3)
            assert (found.chosen_run, found.chosen_oracle) == (run, "last" if agg == "min" else "judge")
            assert (found.n_rows, missing.n_undefined) == ((7, 7) if filter_ is EVERYTHING else (6, 6))
            assert found.first_at == (THURSDAY - DAY if filter_ is EVERYTHING else THURSDAY)


def test_runs_are_combined_by_the_inverse_of_their_variance(session: Session, correlate: Correlate) -> None:
    regret = {"statistic": "best_of_n_regret", "temperature": 1.0}
    correlate([{**regret, "estimate": 1.0, "standard_error": 0.1, "lower": 0.8, "upper": 1.3}])
    other = {"estimate": 2.0, "standard_error": 0.2, "lower": 1.6, "upper": 2.5, "n_prompts": 7, "n_responses": 20}
    correlate([{**regret, **other}])

    group = one(session, "combined")
    # weights 100 and 25: (100 + 50) / 125, error 1 / sqrt(125); Q = 200 - 150^2 / 125 = 20 of one degree of freedom
    assert group.estimate == pytest.approx(1.2)
    assert group.standard_error == pytest.approx(0.0894427)
    # down by the root of (100 * 0.2)^2 + (25 * 0.4)^2, up by that of 30^2 + 12.5^2
    assert (group.lower, group.upper) == (pytest.approx(1.2 - math.sqrt(500) / 125), pytest.approx(1.2 + 32.5 / 125))
    assert group.heterogeneity == pytest.approx(0.95)
    assert (group.n_rows, group.n_used, group.n_runs, group.n_prompts, group.n_responses) == (2, 2, 2, 17, 60)
    assert "inverse-variance mean of 2 estimates of 2 runs, interval of theirs; runs as independent" in group.method


def test_correlations_are_combined_on_the_scale_of_their_atanh(session: Session, correlate: Correlate) -> None:
    # an error of 0.075 at r = 0.5 is 0.075 / (1 - 0.25) = 0.1 at atanh r; with r = 0 it is 0.1 as well
    for estimate, error in ((0.5, 0.075), (0.0, 0.1)):
        own = math.atanh(estimate)
        ends = {"lower": math.tanh(own - 0.2), "upper": math.tanh(own + 0.3)}
        correlate([{"estimate": estimate, "standard_error": error, **ends}])
    z, error = math.atanh(0.5) / 2, 0.1 / math.sqrt(2)

    group = one(session, "combined")
    assert group.estimate == pytest.approx(math.tanh(z))
    assert group.lower == pytest.approx(math.tanh(z - 2 * error))
    assert group.upper == pytest.approx(math.tanh(z + 3 * error))
    assert group.standard_error == pytest.approx(error * (1 - math.tanh(z) ** 2))
    assert "on the atanh scale" in group.method


def test_rows_of_one_run_move_together_so_that_more_of_them_are_not_surer(
    session: Session, correlate: Correlate
) -> None:
    correlate([{"estimate": 0.5, "standard_error": 0.075, "temperature": t} for t in (0.5, 1.0, 1.5)])

    group = one(session, "combined")
    assert group.estimate == pytest.approx(0.5)
    assert group.standard_error == pytest.approx(0.075)
    assert one(session, "mean").standard_error == pytest.approx(0.075)
    assert group.heterogeneity is None
    assert (group.n_used, group.n_runs, group.n_prompts) == (3, 1, 10)


def test_a_mean_counts_every_estimate_alike(session: Session, correlate: Correlate) -> None:
    correlate([{"estimate": 0.2, "standard_error": 0.1, "lower": 0.0, "upper": 0.5}])
    correlate([{"estimate": 0.6, "standard_error": 0.2, "lower": 0.3, "upper": 0.7}])
    correlate([{"undefined_reason": "constant"}])

    group = one(session, "mean")
    error = math.sqrt(0.1**2 + 0.2**2) / 2
    assert group.estimate == pytest.approx(0.4)
    assert group.standard_error == pytest.approx(error)
    assert group.lower == pytest.approx(0.4 - math.hypot(0.2, 0.3) / 2)
    assert group.upper == pytest.approx(0.4 + math.hypot(0.3, 0.1) / 2)
    assert (group.n_rows, group.n_undefined, group.n_used, group.n_prompts) == (3, 1, 2, 20)


@pytest.mark.parametrize("agg", ["mean", "combined"])
@pytest.mark.parametrize("statistic", ["pearson_within", "pairwise_accuracy"])
def test_a_group_of_one_row_has_that_rows_interval(
    session: Session, correlate: Correlate, agg: str, statistic: str
) -> None:
    correlate([{"statistic": statistic, "estimate": 0.8, "standard_error": 0.05, "lower": 0.3, "upper": 1.0}])
    group = one(session, agg)
    assert (group.estimate, group.lower, group.upper) == pytest.approx((0.8, 0.3, 1.0))


def test_what_has_no_error_has_no_weight_and_a_mean_with_it_no_interval(session: Session, correlate: Correlate) -> None:
    bare = {"lower": None, "upper": None, "standard_error": None}
    correlate([{"estimate": 0.5, "standard_error": 0.075}])
    correlate([{**bare, "estimate": 1.0}])  # of r = 1 there is no atanh either

    mean = one(session, "mean")
    assert (mean.estimate, mean.lower, mean.standard_error) == (0.75, None, None)
    assert mean.undefined_reason == "1 of them without a standard error"
    combined = one(session, "combined")
    assert (combined.estimate, combined.n_used) == (pytest.approx(0.5), 1)
    alone = one(session, "combined", HistoryFilter(values={"run": [one(session, "max").chosen_run]}))
    assert (alone.estimate, alone.undefined_reason) == (None, "no row has an estimate with a standard error")
    assert (alone.n_rows, alone.n_used, alone.n_prompts) == (1, 0, 0)


def test_a_row_that_lacks_an_end_narrows_no_interval(session: Session, correlate: Correlate) -> None:
    correlate([{"estimate": 0.5, "standard_error": 0.075}])
    correlate([{"estimate": 0.5, "standard_error": 0.075, "lower": None}])
    combined, mean = one(session, "combined"), one(session, "mean")
    assert (combined.n_used, combined.lower, combined.upper) == (1, pytest.approx(0.4), pytest.approx(0.6))
    assert (mean.estimate, mean.lower, mean.undefined_reason) == (0.5, None, "1 of them without a standard error")


@pytest.mark.parametrize("agg", ["mean", "count"])
def test_the_mean_of_vanishing_likelihoods_is_a_number_on_both_databases(
    session: Session, correlate: Correlate, agg: Any
) -> None:
    tiny = {"lower": 1e-175, "upper": 3e-175, "standard_error": 1e-175}  # whose square PostgreSQL refuses
    correlate([{"statistic": "mean", "estimate": 2e-175, **tiny}])

    group = one(session, agg)
    assert (group.n_used, group.estimate) == (1, 2e-175 if agg == "mean" else None)


ENDS = ("estimate", "lower", "upper", "standard_error")
EXTREMES: dict[str, tuple[tuple[float, ...], float, float]] = {
    # of it and of 0.5 with the error 0.05 the mean, and what 1 / s^2 makes of them: 100 and 400, or none and all
    "next to nothing": ((2e-175, -0.2, 0.2, 0.1), 0.25, 0.4),
    "the least number": ((5e-324, -5e-324, 0.2, 0.1), 0.25, 0.4),
    "no error": ((0.3, 0.3, 0.3, 0.0), 0.4, 0.5),
    "an error that is nearly none": ((0.3, 0.3, 0.3, 1e-175), 0.4, 0.5),
    "a great error": ((0.3, -1e40, 1e40, 1e40), 0.4, 0.5),
    "an error past all measure": ((0.3, -1e200, 1e200, 1e200), 0.4, 0.5),
    "an endless error": ((0.3, -math.inf, 1.0, math.inf), 0.4, 0.5),
    "past all measure": ((1e200, 0.9e200, 1.1e200, 1e199), 0.5, 0.5),
    "the greatest number": ((1.7e308, -1.7e308, 1.7e308, 1.0), 0.5, 0.5),
}


@pytest.mark.parametrize("statistic", ["mean", "pearson_within"])
@pytest.mark.parametrize("what", EXTREMES)
def test_numbers_at_the_ends_of_what_a_database_holds_are_combined_on_both(
    session: Session, correlate: Correlate, what: str, statistic: str
) -> None:
    row, mean, combined = EXTREMES[what]
    if statistic == "pearson_within":  # atanh 0.5 has the error 0.05 / 0.75, so that 225 is its weight
        combined = math.tanh(math.atanh(0.5) * 225 / 325) if combined == 0.4 else 0.5
    correlate([{"statistic": statistic, **dict(zip(ENDS, row, strict=True))}])
    correlate([{"statistic": statistic, **dict(zip(ENDS, (0.5, 0.4, 0.6, 0.05), strict=True))}])

    means, combines, counted = (one(session, agg) for agg in ("mean", "combined", "count"))
    assert (means.estimate, combines.estimate) == (pytest.approx(mean), pytest.approx(combined))
    assert (combines.lower, combines.upper) != (None, None)
    assert means.lower is not None or means.undefined_reason == "1 of them without a standard error"
    assert counted.n_used == 2


def test_of_what_is_past_all_measure_alone_no_mean_is_taken(session: Session, correlate: Correlate) -> None:
    correlate([{"statistic": "mean", "estimate": 1e200}] * 2)
    mean = one(session, "mean")
    assert (mean.n_rows, mean.n_undefined, mean.n_used) == (2, 0, 0)
    assert mean.undefined_reason == "no row has an estimate within 1e+50"


def test_a_count_estimates_nothing_and_may_mix_statistics(session: Session, correlate: Correlate) -> None:
    correlate([{"statistic": "mean"}, {}, {"undefined_reason": "constant"}])

    [group] = groups_page(session, HistoryFilter(), Grouping(["policy"], "count")).data
    assert (group.n_rows, group.n_undefined, group.n_runs, group.n_prompts) == (3, 1, 1, 10)
    assert (group.estimate, group.undefined_reason) == (None, "agg=count counts and estimates nothing")
    for agg in ("latest", "min", "mean", "combined"):
        with pytest.raises(InvalidInput, match="mix statistics"):
            groups_page(session, HistoryFilter(), Grouping(["policy"], agg))


def test_days_weeks_and_months_begin_in_utc(session: Session, correlate: Correlate) -> None:
    for at in ("2026-11-22T23:59:59+00:00", "2026-11-23T00:00:00+00:00", "2026-11-30T01:00:00+02:00"):
        correlate([{}], datetime.fromisoformat(at))

    def periods(name: Any) -> list[tuple[Any, int]]:
        page = groups_page(session, HistoryFilter(), Grouping([name], "count"))
        return [(group.group[name], group.n_rows) for group in page.data]

    assert periods("day") == [("2026-11-22", 1), ("2026-11-23", 1), ("2026-11-29", 1)]
    assert periods("week") == [("2026-11-16", 1), ("2026-11-23", 2)]
    assert periods("month") == [("2026-11-01", 3)]


@pytest.mark.parametrize("agg", ["latest", "min", "max", "mean", "combined", "count"])
@pytest.mark.parametrize("descending", [False, True])
def test_groups_come_once_each_in_order_page_by_page(
    session: Session, correlate: Correlate, agg: Any, descending: bool
) -> None:
    correlate([{"scorer": scorer, "temperature": t} for scorer in "ba" for t in (1.0, None, 0.5)], name="n")
    correlate([{"scorer": "a", "temperature": 1.0, "policy": None}])
    filter_ = HistoryFilter(values={"statistic": ["pearson_within"]})
    grouping = Grouping(["name", "scorer", "temperature", "policy"], agg, first="scorer", descending=descending)

    seen, cursor = [], None
    while True:
        page = groups_page(session, filter_, grouping, cursor=cursor, limit=2)
        seen += [(each.group["scorer"], each.group["name"], each.group["temperature"]) for each in page.data]
        cursor = page.next
        if cursor is None:
            break
    a = [("a", "n", 0.5), ("a", "n", 1.0), ("a", "n", None), ("a", "nightly", 1.0)]
    b = [("b", "n", 0.5), ("b", "n", 1.0), ("b", "n", None)]
    assert seen == (b + a if descending else a + b)
    assert len(list(stream_groups(session, filter_, grouping))) == 7


def test_a_cursor_of_another_list_or_of_none_is_refused(session: Session, correlate: Correlate) -> None:
    correlate([{"scorer": "a"}, {"scorer": "b"}, {"scorer": "c"}])
    cursor = rows_page(session, HistoryFilter(), limit=1).next
    assert cursor is not None

    for order, sent in (
        (Order("estimate"), cursor),
        (Order(descending=False), cursor),
        (Order(), "e30"),
        (Order(), "?"),
    ):
        with pytest.raises(InvalidInput, match="cursor"):
            rows_page(session, HistoryFilter(), order, cursor=sent)
    with pytest.raises(InvalidInput, match="cursor"):
        groups_page(session, HistoryFilter(), Grouping(["statistic"], "count"), cursor=cursor)
    with pytest.raises(InvalidInput, match="limit"):
        rows_page(session, HistoryFilter(), limit=501)


def test_a_stream_gives_all_in_order_and_the_fingerprint_changes_with_them(
    session: Session, correlate: Correlate
) -> None:
    correlate([{"estimate": 0.001 * n} for n in range(700)], THURSDAY, id="run_a")
    filter_ = HistoryFilter(values={"scorer": ["rm"]})

    rows = list(stream_rows(session, filter_, Order("estimate", descending=False)))
    assert [row["estimate"] for row in rows] == [0.001 * n for n in range(700)]
    assert CorrelationRecord(**rows[0]).run == "run_a"
    before = fingerprint(session, filter_)
    session.rollback()
    correlate([{"scorer": "other"}], THURSDAY + DAY)
    assert fingerprint(session, filter_) == before
    session.rollback()
    correlate([{}], THURSDAY - DAY)  # by a clock that is behind
    assert fingerprint(session, filter_) != before


def test_the_fingerprint_of_everything_changes_with_any_run(
    make_session: sessionmaker[Session], correlate: Correlate
) -> None:
    def told() -> list[Any]:
        with make_session() as session:
            return fingerprint(session, HistoryFilter())

    seen = [told()]
    correlate([{}, {}], THURSDAY, id="run_b")
    seen.append(told())
    correlate([{}], THURSDAY, id="run_a")  # older, at the same moment
    seen.append(told())
    assert [len(each) for each in seen] == [0, 1, 2]
    with writing(make_session) as session:
        session.execute(delete(Correlation).where(Correlation.run == "run_b"))
    seen.append(told())
    correlate([{}, {}], THURSDAY, id="run_c")
    seen.append(told())
    assert len({repr(each) for each in seen}) == 5
    assert told() == seen[-1]


def test_what_there_is_to_choose_is_listed_below_the_choices_before(session: Session, correlate: Correlate) -> None:
    assert values_of(session, "statistic") == []
    correlate(
        [
            {"statistic": "pearson_within", "oracle": "judge", "temperature": 2.0},
            {"statistic": "pearson_within", "oracle": "judge", "temperature": None},
            {"statistic": "pearson_within", "oracle": "judge", "temperature": 0.5},
            {"statistic": "mean", "oracle": "rm", "temperature": 1.0},
        ]
    )
    session.rollback()

    assert values_of(session, "statistic") == ["mean", "pearson_within"]
    assert values_of(session, "oracle", statistic="pearson_within") == ["judge"]
    below = {"statistic": "pearson_within", "oracle": "judge", "stratum": "all"}
    assert values_of(session, "temperature", **below) == [0.5, 2.0, None]
    assert scorers_of(session, **below, temperature=None) == ["rm"]
    assert scorers_of(session, **below, temperature=1.0) == []


def test_runs_on_the_same_prompts_move_together_so_that_asking_again_is_not_surer(
    session: Session, correlate: Correlate
) -> None:
    for day in range(4):
        correlate([{}], THURSDAY + day * DAY, prompts=["a", "b"])

    for agg in ("combined", "mean"):
        group = one(session, agg)
        assert (group.estimate, group.standard_error) == (pytest.approx(0.5), pytest.approx(0.075))
        assert (group.n_runs, group.n_prompts, group.n_distinct_prompts, group.shared_prompts) == (4, 40, 2, True)
        assert "runs as moving together as far as they share prompts, rows of one run" in group.method
        assert group.heterogeneity is None


def test_runs_that_share_some_prompts_move_together_as_far(session: Session, correlate: Correlate) -> None:
    # at atanh r both errors are 0.1; one common prompt of two correlates them by 1/2: 0.1 sqrt((1 + 1 + 1) / 4)
    correlate([{}], prompts=["a", "b"])
    correlate([{}], prompts=["b", "c"])

    group = one(session, "combined")
    assert group.standard_error == pytest.approx(0.75 * 0.1 * math.sqrt(3) / 2)
    assert (group.n_distinct_prompts, group.shared_prompts) == (3, True)


def test_rows_of_a_stratum_move_together_wholly_where_their_runs_share_any_prompt(
    session: Session, correlate: Correlate
) -> None:
    subset = [{"stratum": "chat"}]
    correlate(subset, prompts=["a", "b"])
    correlate(subset, prompts=["b", "c"])  # b may be all of chat
    named = HistoryFilter(values={"stratum": ["chat"]})
    group = one(session, "combined", named)
    assert group.standard_error == pytest.approx(0.075)
    assert (group.n_distinct_prompts, group.shared_prompts) == (3, True)


def test_rows_of_one_run_and_of_another_on_its_prompts_are_all_added(session: Session, correlate: Correlate) -> None:
    scorers = [{"scorer": "a"}, {"scorer": "b", "temperature": 1.5}]
    correlate(scorers, prompts=["a", "b"])
    correlate(scorers, prompts=["a", "b"])
    assert one(session, "combined").standard_error == pytest.approx(0.075)
    session.rollback()  # SQLite goes on seeing what it saw
    correlate(scorers, prompts=["c", "d"])  # a second set, independent: 4 rows move together, and 2
    assert one(session, "combined").standard_error == pytest.approx(0.075 * math.sqrt(4**2 + 2**2) / 6)


def test_prompts_that_are_not_known_count_as_anybodys(session: Session, correlate: Correlate) -> None:
    alone = correlate([{}], prompts=None)
    group = one(session, "combined")
    assert (group.n_distinct_prompts, group.shared_prompts, group.n_runs) == (None, False, 1)
    session.rollback()
    correlate([{}])
    group = one(session, "combined")
    assert group.standard_error == pytest.approx(0.075)
    assert (group.n_distinct_prompts, group.shared_prompts, group.heterogeneity) == (None, None, None)
    assert "as far as they may share prompts, which of some are not known" in group.method
    assert one(session, "latest").shared_prompts is None
    assert one(session, "mean", HistoryFilter(values={"run": [alone]})).shared_prompts is False


def test_a_stream_says_of_shared_prompts_what_a_page_says(session: Session, correlate: Correlate) -> None:
    for scorer in "abc":
        correlate([{"scorer": scorer}], prompts=["a", "b"])
        correlate([{"scorer": scorer}], prompts=["b", scorer])
    grouping = Grouping(["scorer", "statistic"], "combined")

    page = groups_page(session, HistoryFilter(), grouping).data
    assert [HistoryGroup(**row) for row in stream_groups(session, HistoryFilter(), grouping)] == page
    assert [group.n_distinct_prompts for group in page] == [2, 2, 3]

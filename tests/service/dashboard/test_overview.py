"""The overview says which scorers are trusted now, from the latest run that measured each."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from service.dashboard import overview

R = {"reward": {0.5: 0.6, 1.5: 0.4, 2.0: None}, "length": {0.5: 0.05, 1.5: 0.2, 2.0: 0.1}}


def test_each_scorer_stands_where_it_is_weakest_in_its_latest_run(
    read: Callable[..., str], measure: Callable[..., str]
) -> None:
    measure({"reward": {1.0: -0.5}, "old": {1.0: 0.05}}, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    measure(R, created_at=datetime(2026, 2, 1, tzinfo=UTC))

    seen = read("/")
    # of two learned scorers one has its lowest end above 0: reward at T = 1.5 [0.30, 0.50], of the later run
    assert "1 of 2 scorers agrees with judge at every temperature where r is defined." in seen
    assert "reward wherever defined agrees at T = 0.5 to 1.5 0.40 [0.30, 0.50], T = 1.5" in seen
    assert "old not shown 0.05 [\N{MINUS SIGN}0.05, 0.15], T = 1" in seen
    assert "length at every T" not in seen  # a control is there to be beaten


def test_how_far_a_scorer_holds_is_told_apart_from_whether_it_beats_what_costs_nothing(
    read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, object]]
) -> None:
    lead = "pearson_within_lead_over_length"
    leads = [row("reward", t, r, statistic=lead) for t, r in ((0.5, 0.3), (1.5, 0.05))]
    leads += [row("falling", t, -0.3, statistic=lead) for t in (0.5, 1.5)]
    measure({**R, "falling": {0.5: 0.5, 1.0: 0.02, 1.5: -0.5}}, leads)

    seen = read("/")
    # at T = 1.5 the lead's interval is [-0.05, 0.15]
    agreeing = "1 of 2 scorers agrees with judge at every temperature where r is defined"
    assert f"{agreeing}; it does not beat every trivial control." in seen
    assert "[0.30, 0.50], T = 1.5 not ahead of length" in seen
    assert "falling up to T = 0.5 agrees at T = 0.5, not resolved at T = 1, the other way round at T = 1.5" in seen
    assert "T = 1.5 behind length" in seen


def test_one_that_beats_every_control_is_said_to(
    read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, object]]
) -> None:
    measure(R, [row("reward", t, 0.3, statistic="pearson_within_lead_over_length") for t in (0.5, 1.5)])

    seen = read("/")
    assert "reward agrees with judge at every temperature where r is defined, and beats every trivial control." in seen
    assert "T = 1.5 ahead of all" in seen


def test_one_of_two_that_was_compared_with_controls_speaks_for_itself_alone(
    read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, object]]
) -> None:
    beyond = row("reward", 0.5, 0.3, statistic="pearson_within_lead_over_length")
    measure({"reward": {0.5: 0.6, 1.5: 0.4}, "other": {0.5: 0.5, 1.5: 0.4}}, [beyond])

    said = "agree with judge at every temperature tested; the one beside trivial controls beats them all."
    assert f"2 of 2 scorers {said}" in read("/")


def test_a_run_that_found_no_interval_erases_nothing_that_an_older_one_found(
    read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, object]]
) -> None:
    measure({"reward": {1.0: 0.9}}, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    measure({}, [row("reward", None, None)], kind="audit", created_at=datetime(2026, 2, 1, tzinfo=UTC))
    measure({"reward": {1.0: None}}, created_at=datetime(2026, 3, 1, tzinfo=UTC))

    seen = read("/")
    assert "reward agrees with judge at every temperature tested." in seen
    assert "reward at T = 1 0.90 [0.80, 1.00], T = 1" in seen


def test_a_scorer_without_any_interval_at_all_is_told_so(read: Callable[..., str], measure: Callable[..., str]) -> None:
    measure({"reward": {1.0: None}})

    seen = read("/")
    assert "reward is not shown to agree with judge." in seen
    assert "reward undefined every score is the same" in seen


def test_audits_that_monitoring_schedules_are_not_among_the_runs_looked_at(
    read: Callable[..., str],
    measure: Callable[..., str],
    row: Callable[..., dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overview, "RUNS_LOOKED_AT", 2)
    measure({"reward": {1.0: 0.9}}, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    for day in (1, 2, 3):
        measure(
            {},
            [row("rm@3:score", None, 0.3)],
            kind="audit",
            created_at=datetime(2026, 2, day, tzinfo=UTC),
            idempotency_key=f"monitoring:rm@3:score:2026-02-0{day}T00:00:00/86400s",
        )
    measure({"other": {1.0: 0.5}}, created_at=datetime(2026, 3, 1, tzinfo=UTC), idempotency_key="monitoring-by-hand")

    seen = read("/")
    assert "2 of 2 scorers agree with judge" in seen
    assert "rm@3:score at" not in seen


def test_versions_and_oracles_are_told_apart(
    read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, object]]
) -> None:
    rows = [row("rm", 1.0, 0.5, scorer_version=version, oracle=oracle) for version in (1, 2) for oracle in ("a", "b")]
    measure({}, rows)

    seen = read("/")
    assert "2 of 2 scorer versions agree with a" in seen
    assert "2 of 2 scorer versions agree with b" in seen
    assert seen.count("rm version 1 at T = 1") == seen.count("rm version 2 at T = 1") == 2


def test_an_audit_without_temperatures_counts_and_a_stress_test_s_pooled_number_does_not(
    read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, object]]
) -> None:
    measure({}, [row("audited", None, 0.3)], kind="audit")
    measure({}, [row("stressed", 1.0, 0.8), row("stressed", None, 0.2)])

    seen = read("/")
    assert "audited agrees 0.30 [0.20, 0.40] not compared" in seen
    assert "stressed at T = 1 0.80" in seen


def test_the_latest_verdict_runs_and_what_is_under_way_are_there(
    browser: TestClient, read: Callable[..., str], measure: Callable[..., str], add_job: Callable[..., str]
) -> None:
    latest = measure(R, name="latest")
    progress = {"stage": "sample", "done": 1200, "total": 4800, "unit": "response", "rate": 10.0, "eta_seconds": 360.0}
    running = add_job(name="big", status="running", progress=progress)
    add_job("reward_model", "queued", name="waiting")
    add_job(name="broken", status="failed", error_code="run_failed", error_detail="the judge does not answer")

    page, seen = browser.get("/").text, read("/")
    assert "reward orders responses to the same prompt as judge does" in seen
    assert f'data-figures="/runs/{latest}/figures/agreement.json?oracle=judge"' in page
    assert "sample 1,200 of 4,800 responses , about 6 min left" in seen
    assert "queued, 1 in line" in seen
    assert f'data-events="/v1/stress-tests/{running}/events' in page
    assert "the judge does not answer" in seen


def test_of_many_running_jobs_two_are_followed_live(browser: TestClient, add_job: Callable[..., str]) -> None:
    running = [add_job(name=f"n{number}", status="running") for number in range(4)]
    add_job(name="waiting", status="queued")

    page = browser.get("/").text
    assert all(f"/jobs/{job}" in page for job in running)
    assert page.count("data-events=") == 2


def test_of_many_scorers_the_weaker_ones_are_folded_and_none_is_left_out(
    browser: TestClient, measure: Callable[..., str]
) -> None:
    run = measure({f"scorer-{number:02}": {1.0: 0.9 - number / 50} for number in range(14)})
    page = browser.get("/").text
    table, folded = page.index('class="runs trusted"'), page.index("2 more, weaker at their worst")
    assert table < page.index("scorer-11") < folded < page.index("scorer-12") < page.index("scorer-13")
    found = browser.get(f"/runs/{run}").text
    assert found[found.index("What else was found") :].count("<li>") == 12  # two are told above
    assert "<summary>4 more</summary>" in found

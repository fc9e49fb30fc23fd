"""Lists are complete, ordered and filtered the same way on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import (
    CorrelationFilter,
    JobFilter,
    correlation_page,
    correlations,
    find_job,
    get_job,
    get_stress_test,
    list_events,
    list_jobs,
    list_metrics,
    list_stress_tests,
)
from service.db.runs import get_run
from service.db.samples import response_page, score_page
from service.db.session import writing
from service.db.tables import JobEvent, JobMetric
from trainer.errors import InvalidInput, NotFound

AddJob = Callable[..., str]


def test_pages_give_every_job_once_newest_first(make_session: sessionmaker[Session], add_job: AddJob) -> None:
    ids = [add_job("ganpo") for _ in range(5)]

    with make_session() as session:
        seen, cursor = [], None
        while True:
            page = list_jobs(session, cursor=cursor, limit=2)
            assert len(page.data) <= 2
            seen += [job.id for job in page.data]
            cursor = page.next
            if cursor is None:
                break

    assert seen == ids[::-1]


def test_a_page_that_ends_exactly_at_the_last_item_has_no_next(
    make_session: sessionmaker[Session], add_job: AddJob
) -> None:
    for _ in range(2):
        add_job()

    with make_session() as session:
        assert list_jobs(session, limit=2).next is None


def test_filters(make_session: sessionmaker[Session], add_job: AddJob) -> None:
    now = datetime.now(UTC)
    old = add_job("sft", name="old", created_at=now - timedelta(days=2))
    labelled = add_job("ganpo", status="failed", labels={"team": "x", "note": "y"})
    stress = add_job("stress_test", status="queued", labels={"team": "z"})

    def found(**where: object) -> list[str]:
        with make_session() as session:
            return [job.id for job in list_jobs(session, JobFilter(**where)).data]  # type: ignore[arg-type]

    assert found() == [stress, labelled, old]
    assert found(kinds=["sft", "ganpo"]) == [labelled, old]
    assert found(status="failed") == [labelled]
    assert found(labels={"team": "x"}) == [labelled]
    assert found(labels={"team": "x", "note": "z"}) == []
    assert found(name="old") == [old]
    assert found(created_before=now - timedelta(days=1)) == [old]
    assert found(created_after=now - timedelta(days=1), kinds=["ganpo"]) == [labelled]


@pytest.mark.parametrize("cursor", ["?", "e30", "NQ", "a", "WzEsIDJd"])
def test_a_made_up_cursor_is_refused(make_session: sessionmaker[Session], cursor: str) -> None:
    with make_session() as session, pytest.raises(InvalidInput, match="cursor"):
        list_jobs(session, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_limit_outside_its_range_is_refused(make_session: sessionmaker[Session], limit: int) -> None:
    with make_session() as session, pytest.raises(InvalidInput, match="limit"):
        list_jobs(session, limit=limit)


def test_the_queue_position_counts_only_who_waits_in_front(
    make_session: sessionmaker[Session], add_job: AddJob
) -> None:
    add_job(status="running")
    first, second = add_job("sft", status="queued"), add_job(status="queued")

    with make_session() as session:
        assert get_job(session, first).queue_position == 1
        assert get_job(session, second).queue_position == 2
        assert [job.queue_position for job in list_jobs(session).data] == [2, 1, None]


def test_a_job_of_another_kind_is_not_found(make_session: sessionmaker[Session], add_job: AddJob) -> None:
    job = add_job("sft")

    with make_session() as session:
        assert find_job(session, job, ["sft"]).id == job
        with pytest.raises(NotFound):
            get_job(session, job, ["ganpo"])
        with pytest.raises(NotFound):
            get_stress_test(session, job)
        with pytest.raises(NotFound, match="no job job_0"):
            get_job(session, "job_0")


def test_times_come_back_in_utc(make_session: sessionmaker[Session], add_job: AddJob) -> None:
    tokyo = datetime.fromisoformat("2026-01-02T03:04:05.678901+09:00")
    job = add_job(created_at=tokyo)

    with make_session() as session:
        assert get_job(session, job).model_dump(mode="json")["created_at"] == "2026-01-01T18:04:05.678901Z"


@pytest.mark.parametrize("status", ["running", "queued", "cancelled", "succeeded"])
def test_how_fast_a_job_is_it_tells_only_while_it_runs(
    make_session: sessionmaker[Session], add_job: AddJob, status: str
) -> None:
    told = {"stage": "train", "done": 3, "total": 9, "unit": "steps", "rate": 0.5, "eta_seconds": 12.0}
    run = add_job(status=status, progress=told)
    with make_session() as session:
        shown = (get_job(session, run).progress, get_run(session, run, ["stress_test"]).progress)

    for progress in shown:
        assert progress is not None
        assert (progress.done, progress.total) == (3, 9)
        assert (progress.rate, progress.eta_seconds) == ((0.5, 12.0) if status == "running" else (None, None))


def test_a_stress_test_is_listed_before_and_after_it_has_results(
    make_session: sessionmaker[Session], add_job: AddJob, store_run: AddJob
) -> None:
    queued, done = add_job(status="queued"), store_run()
    add_job("ganpo")

    with make_session() as session:
        assert [(test.id, test.policy) for test in list_stress_tests(session).data] == [
            (done, "my-policy@1"),
            (queued, None),
        ]
        assert [test.id for test in list_stress_tests(session, policy="my-policy@1").data] == [done]
        assert get_stress_test(session, done).n_responses == 6
        assert get_stress_test(session, queued).queue_position == 1


def test_correlations_by_every_filter(make_session: sessionmaker[Session], store_run: AddJob) -> None:
    run = store_run()

    def found(**where: object) -> list[tuple[str, float | None, float | None]]:
        with make_session() as session:
            rows = correlations(session, CorrelationFilter(**where))  # type: ignore[arg-type]
            return [(row.statistic, row.temperature, row.estimate) for row in rows]

    assert len(found()) == 6
    assert found(statistics=["pearson_within"]) == [
        ("pearson_within", 0.0, None),
        ("pearson_within", 1.5, 0.5),
        ("pearson_within", None, 0.25),
    ]
    assert found(statistics=["pearson_within"], temperatures=["pooled"]) == [("pearson_within", None, 0.25)]
    assert found(temperatures=[1.5, "pooled"], statistics=["pearson_pooled"], runs=[run]) == [
        ("pearson_pooled", 1.5, 0.5),
        ("pearson_pooled", None, 0.25),
    ]
    assert found(scorers=["length"]) == found(oracles=["nobody"]) == found(strata=["short"]) == found(runs=["x"]) == []


def test_correlations_by_page(make_session: sessionmaker[Session], store_run: AddJob) -> None:
    run = store_run()

    with make_session() as session:
        first = correlation_page(session, run, CorrelationFilter(), limit=4)
        second = correlation_page(session, run, CorrelationFilter(), limit=4, cursor=first.next)
        assert [len(first.data), len(second.data), second.next] == [4, 2, None]
        assert first.data + second.data == correlations(session, CorrelationFilter(runs=[run]))


def test_responses_and_scores_of_a_temperature(make_session: sessionmaker[Session], store_run: AddJob) -> None:
    run = store_run()

    with make_session() as session:
        responses = response_page(session, run, temperatures=[1.5], prompt_id="p0").data
        assert [(row.prompt, row.replicate, row.mean_logprob) for row in responses] == [
            ("Describe product 0.", 0, -0.5),
            ("Describe product 0.", 1, -1.0),
        ]
        scores = score_page(session, run, temperatures=[1.5], scorers=["helpful"]).data
        assert [(row.prompt_id, row.replicate, row.score) for row in scores] == [
            ("p0", 0, 1.0),
            ("p0", 1, 2.0),
            ("p1", 0, 4.0),
            ("p1", 1, None),
        ]
        assert scores[-1].error is not None
        assert scores[-1].error.code == "overlong_input"
        first = score_page(session, run, limit=10)
        assert len(score_page(session, run, limit=10, cursor=first.next).data) == 8


def test_events_after_a_sequence_number(make_session: sessionmaker[Session], add_job: AddJob) -> None:
    job = add_job()
    now = datetime.now(UTC)
    with writing(make_session) as session:
        session.add_all(
            JobEvent(job=job, sequence=i, time=now, type="message", data={"text": str(i)}) for i in range(1, 5)
        )

    with make_session() as session:
        assert [event.sequence for event in list_events(session, job, after=2)] == [3, 4]
        assert [event.data for event in list_events(session, job, limit=1)] == [{"text": "1"}]


def test_metrics_are_one_series_per_stage_and_name(make_session: sessionmaker[Session], add_job: AddJob) -> None:
    job = add_job()
    with writing(make_session) as session:
        session.add_all(
            JobMetric(job=job, stage="train", name=name, step=step, value=float(step))
            for name in ("loss", "rewards/chosen")
            for step in range(10, 0, -1)
        )

    with make_session() as session:
        series = list_metrics(session, job)
        assert [(one.stage, one.name, len(one.points)) for one in series] == [
            ("train", "loss", 10),
            ("train", "rewards/chosen", 10),
        ]
        assert series[0].points[:2] == [(1, 1.0), (2, 2.0)]
        thinned = list_metrics(session, job, names=["loss"], max_points=4)
        assert [len(one.points) for one in thinned] == [4]

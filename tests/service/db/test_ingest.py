"""A finished run is stored whole, once, with its missing numbers as NULL."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from evaluation.prompt_marks import MARKS_FILE, mark_of, write_marks
from service.db.correlation_columns import unpacked
from service.db.ingest import Ingestion
from service.db.session import writing
from service.db.tables import Correlation, Prompt, Response, RunPrompts, Score, StressTest
from tests.stored_runs import ingest_run
from trainer.errors import InvalidInput, RunFailed

COUNTED = (Prompt, Response, Score, Correlation, StressTest)


def counts(make_session: sessionmaker[Session]) -> list[int]:
    with make_session() as session:
        return [session.scalars(select(func.count()).select_from(table)).one() for table in COUNTED]


def test_a_run_is_stored(make_session: sessionmaker[Session], store_run: Callable[..., str]) -> None:
    run = store_run()

    assert counts(make_session) == [2, 6, 18, 6, 1]
    with make_session() as session:
        test = session.get_one(StressTest, run)
        assert (test.policy, test.n_prompts, test.n_responses) == ("my-policy@1", 2, 6)
        assert (test.temperatures, test.scorers, test.oracles) == ([0.0, 1.5], ["helpful", "length"], ["judge"])
        assert unpacked(session) == []


def test_what_was_measured_is_of_the_moment_it_is_seen_not_of_when_storing_began(
    make_session: sessionmaker[Session], add_job: Callable[..., str], stress_run: Path
) -> None:
    run = add_job()
    ingestion = Ingestion(run, stress_run)
    batches = list(ingestion.batches())
    stored = datetime.now(UTC)  # whoever asked for what came after, a moment ago, must find it next time
    with writing(make_session) as session:
        for batch in batches:
            ingestion.insert(session, batch)
        ingestion.conclude(session, "stress_test")

    with make_session() as session:
        for table in (Correlation, StressTest):
            assert session.scalars(select(func.min(table.created_at))).one() >= stored


def test_two_versions_of_a_scorer_may_score_the_same_response(
    make_session: sessionmaker[Session], store_run: Callable[..., str], stress_run: Path
) -> None:
    path = stress_run / "scores.jsonl"
    second = [line for line in path.read_text().splitlines() if '"helpful"' in line]
    assert len(second) == 6
    path.write_text(path.read_text() + "\n".join(second).replace('"scorer_version": 2', '"scorer_version": 3') + "\n")
    store_run()
    assert counts(make_session) == [2, 6, 24, 6, 1]


def test_missing_numbers_are_null_and_never_nan(
    make_session: sessionmaker[Session], store_run: Callable[..., str], stress_run: Path
) -> None:
    path = stress_run / "scores.jsonl"
    path.write_text(path.read_text().replace('"score": 4.0', '"score": NaN'))
    store_run()

    with make_session() as session:
        null_scores = session.execute(
            select(Score.scorer, Score.error_code).where(Score.score.is_(None)).order_by(Score.number)
        ).all()
        assert list(null_scores) == [
            ("helpful", None),
            ("helpful", "overlong_input"),
            ("length", None),
            ("judge", None),
        ]
        undefined = session.scalars(select(Correlation).where(Correlation.estimate.is_(None))).all()
        assert [(row.temperature, row.undefined_reason) for row in undefined] == [(0.0, "every score is the same")] * 2
        assert session.scalar(select(func.sum(Score.score))) == 5 + 3 * (0 + 1 + 2 + 3) + 5


def test_characters_no_database_stores_are_replaced(
    make_session: sessionmaker[Session], store_run: Callable[..., str]
) -> None:
    store_run()

    with make_session() as session:
        assert session.scalar(select(Response.response).where(Response.number == 6)) == "It is p1\ufffd\ufffd."


@pytest.mark.parametrize(
    ("file", "change", "complaint"),
    [
        ("responses.jsonl", ('"p1"', '"p9"'), r"responses.jsonl, line 4: 'p9' is missing or unknown"),
        ("scores.jsonl", ('"replicate": 1', '"replicate": 7'), r"scores.jsonl, line 3: .*7.* is missing or unknown"),
        ("scores.jsonl", ('"role": "oracle"', '"role": "judge"'), r"line 13: 'judge' is missing or unknown"),
        ("correlations.jsonl", ('"method"', '"manner"'), r"line 1: 'method' is missing or unknown"),
        ("scores.jsonl", ('"replicate": 1', '"replicate": 0'), "contradict each other"),
    ],
)
def test_files_that_contradict_each_other_store_nothing(
    make_session: sessionmaker[Session],
    store_run: Callable[..., str],
    stress_run: Path,
    file: str,
    change: tuple[str, str],
    complaint: str,
) -> None:
    content = (stress_run / file).read_text()
    (stress_run / file).write_text(content.replace(*change))
    assert (stress_run / file).read_text() != content

    with pytest.raises(RunFailed, match=complaint):
        store_run()

    assert counts(make_session) == [0, 0, 0, 0, 0]


def test_a_torn_line_is_named_and_stores_nothing(
    make_session: sessionmaker[Session], store_run: Callable[..., str], stress_run: Path
) -> None:
    path = stress_run / "correlations.jsonl"
    path.write_text(path.read_text()[:-20])

    with pytest.raises(InvalidInput, match=r"correlations\.jsonl, line 6: not JSON"):
        store_run()

    assert counts(make_session) == [0, 0, 0, 0, 0]


def test_an_audit_has_correlations_only(
    make_session: sessionmaker[Session], store_run: Callable[..., str], stress_run: Path
) -> None:
    for name in ("prompts.jsonl", "responses.jsonl", "scores.jsonl"):
        (stress_run / name).unlink()
    store_run("audit")

    assert counts(make_session) == [0, 0, 0, 6, 0]


def test_a_summary_without_its_policy_is_refused(store_run: Callable[..., str], stress_run: Path) -> None:
    (stress_run / "result.json").write_text(json.dumps({"status": "succeeded", "result": {}, "error": None}))

    with pytest.raises(RunFailed, match="does not name the policy"):
        store_run()


def test_deleting_a_job_deletes_what_it_measured(
    make_session: sessionmaker[Session], store_run: Callable[..., str]
) -> None:
    run = store_run()

    with writing(make_session) as session:
        session.execute(text("DELETE FROM jobs WHERE id = :run"), {"run": run})

    assert counts(make_session) == [0, 0, 0, 0, 0]


def test_runs_that_were_asked_the_same_have_one_digest_whatever_they_call_their_prompts(
    make_session: sessionmaker[Session], store_run: Callable[..., str], stress_run: Path
) -> None:
    def stored() -> str:
        run = store_run()
        with make_session() as session:
            return session.get_one(RunPrompts, run).digest

    first = stored()
    path = stress_run / "prompts.jsonl"
    prompts = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(prompts) == 2
    path.write_text("".join(json.dumps(row) + "\n" for row in reversed(prompts)))
    assert stored() == first
    path.write_text("".join(json.dumps({**row, "prompt": row["prompt"] * 2}) + "\n" for row in prompts))
    assert stored() != first


def test_what_an_audit_was_asked_is_told_by_its_marks(
    make_session: sessionmaker[Session], add_job: Callable[..., str], tmp_path: Path
) -> None:
    write_marks([mark_of("same text", "7"), mark_of(None, "8"), mark_of("same text", "9")], tmp_path)
    known, unknown = add_job("audit"), add_job("audit")
    with writing(make_session) as session:
        ingest_run(session, known, tmp_path)
        (tmp_path / MARKS_FILE).unlink()
        ingest_run(session, unknown, tmp_path)
    with make_session() as session:
        assert len(session.get_one(RunPrompts, known).marks) == 2 * 16
        assert session.get(RunPrompts, unknown) is None

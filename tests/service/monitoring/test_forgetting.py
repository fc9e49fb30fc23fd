"""What somebody sent is forgotten wherever its texts are, and nobody else's is."""

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.cli import main
from service.db.ids import new_id
from service.db.prompt_sets import add_prompts
from service.db.served import holds_text
from service.db.session import writing
from service.db.tables import Job, JobEvent, RunPrompts, ServedScore
from service.jobs import retention
from service.jobs.kinds import parse_any_recipe
from service.jobs.queue import resume
from service.jobs.retention import forget
from service.monitoring import forgetting
from service.monitoring.forgetting import Forget, forget_texts
from service.monitoring.sampling import prompt_digest
from service.monitoring.watch import Watch
from service.score_schema import PromptText
from service.settings import Settings

Sessions = sessionmaker[Session]

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
CHAT: PromptText = [{"role": "user", "content": "Write to Zoë Müller"}]  # type: ignore[list-item]
ADA = "what does ada@example.com owe?"


def served(make_session: Sessions, *prompts: Any, response: str = "nothing", ago: float = 0.75) -> None:
    with writing(make_session) as session:
        for prompt in prompts:
            session.add(
                ServedScore(
                    **{"id": new_id("srv"), "time": NOW - timedelta(hours=ago), "scorer": "rm@3:score"},
                    **{"prompt": prompt, "response": response, "prompt_digest": prompt_digest_of(prompt)},
                    **{"response_digest": "r", "response_characters": 7, "score": 0.0},
                    **{"tokens": 9, "truncated_tokens": 0},
                )
            )


def prompt_digest_of(prompt: Any) -> str:
    from pydantic import TypeAdapter

    return prompt_digest(TypeAdapter(PromptText).validate_python(prompt))


def kept(make_session: Sessions) -> list[Any]:
    with make_session() as session:
        return list(session.scalars(select(ServedScore.prompt).order_by(ServedScore.id)))


@pytest.fixture
def asked(settings: Settings) -> Callable[..., Any]:
    """``asked(containing="x")``: the answer of the route, or its status where it refuses."""

    def ask(**content: Any) -> Any:
        with TestClient(create_app(settings.model_copy(update={"job_slots": 0}))) as client:
            answer = client.post("/v1/monitoring/forget", json=content)
        return answer.json() if answer.status_code == 200 else answer.status_code

    return ask


def test_rows_go_by_prompt_by_hash_by_what_they_contain_and_by_age(
    asked: Callable[..., Any], make_session: Sessions
) -> None:
    served(make_session, "a", "b", "c", CHAT, ADA)
    served(make_session, "d", response="Dear Zoë Müller,")
    served(make_session, "old", ago=48)
    assert asked(prompt="a", dry_run=True)["scores"] == 1
    assert asked(prompt="a") == {"scores": 1, "audits": []}
    assert asked(prompt_hash=prompt_digest_of("b"))["scores"] == 1
    assert asked(containing="ADA@example.com")["scores"] == 1
    assert asked(containing="zoë müller")["scores"] == 2, "in a message, as JSON escapes it, and in a response"
    assert asked(before=(NOW - timedelta(hours=24)).isoformat())["scores"] == 1
    assert kept(make_session) == ["c"]
    assert asked(prompt="c", containing="c") == asked() == asked(prompt_hash="x") == asked(containing="") == 422


@pytest.fixture
def audited(settings: Settings, make_session: Sessions, tmp_path: Path) -> Callable[[float], Job]:
    """``audited(hours)``: texts of so long ago, Ada's among them, and the audit that was queued of them."""
    file = tmp_path / "audit.yaml"
    file.write_text("judges: [{kind: product_world}]\n")
    hourly = {"monitor_keep": "text", "monitor_audit_hours": 1.0, "monitor_audit_recipe": file, "monitor_share": 1.0}

    def audit(hours: float) -> Job:
        served(make_session, *(f"prompt {number}" for number in range(20)), ADA, ago=hours + 0.75)
        with make_session() as session:
            before = set(session.scalars(select(Job.id)))
        changed = settings.model_copy(update=hourly)
        Watch(changed, make_session, parse_any_recipe).look(NOW - timedelta(hours=hours))
        with make_session() as session:
            [job] = session.scalars(select(Job).where(Job.id.not_in(before)))
        return job

    return audit


def test_files_and_run_directories_of_audits_go_with_the_text_and_those_of_others_stay(
    settings: Settings,
    make_session: Sessions,
    audited: Callable[[float], Job],
    asked: Callable[..., Any],
) -> None:
    ended, waiting = audited(4), audited(2)
    with writing(make_session) as session:
        job = session.get_one(Job, ended.id)
        job.status, job.finished_at = "failed", NOW - timedelta(hours=3)
        job.error_code, job.error_detail = "invalid_input", f"{ADA!r} cannot be judged"
        session.add(JobEvent(job=job.id, sequence=1, time=NOW, type="message", data={"text": ADA}))
        for run in (ended.id, waiting.id):
            add_prompts(session, run, ["0" * 16])
    other = audited(0)  # of the hour before, whose sample has Ada's as well
    directory = settings.runs_dir / ended.id
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "judgements.jsonl").write_text("{}\n")

    found = asked(containing="ada@example.com")
    assert found == {"scores": 3, "audits": sorted([ended.id, waiting.id, other.id])}
    assert not directory.exists()
    for job in (ended, waiting, other):
        assert Path(job.recipe["path"]).read_text() == ""
    with make_session() as session:
        statuses = {job.id: job.status for job in session.scalars(select(Job))}
        assert session.scalars(select(RunPrompts)).all() == [], "marks are hashes of texts"
        assert session.scalars(select(JobEvent)).all() == []
        assert "ada" not in str(session.get_one(Job, ended.id).error_detail)
    assert statuses == {ended.id: "failed", waiting.id: "cancelled", other.id: "cancelled"}
    assert asked(containing="ada@example.com") == {"scores": 0, "audits": []}


def test_an_audit_under_way_is_stopped_and_its_directory_goes_in_the_round_after_its_end(
    settings: Settings, make_session: Sessions, audited: Callable[[float], Job], asked: Callable[..., Any]
) -> None:
    job = audited(2)
    with writing(make_session) as session:
        session.get_one(Job, job.id).status = "running"
    directory = settings.runs_dir / job.id
    assert asked(prompt=ADA)["audits"] == [job.id]
    with writing(make_session) as session:
        running = session.get_one(Job, job.id)
        assert running.cancel_requested_at is not None
        running.status, running.finished_at = "cancelled", datetime.now(UTC) - timedelta(seconds=1)
    assert directory.is_dir()
    forget(make_session, settings)
    assert not directory.exists()


def test_an_audit_without_the_text_is_left_alone(
    settings: Settings, make_session: Sessions, audited: Callable[[float], Job], asked: Callable[..., Any]
) -> None:
    job = audited(2)
    served(make_session, "somebody else", ago=0.1)
    assert asked(prompt="somebody else") == {"scores": 1, "audits": []}
    assert len(Path(job.recipe["path"]).read_text().splitlines()) == 21
    assert (settings.runs_dir / job.id).is_dir()


def test_the_command_does_the_same(
    settings: Settings,
    make_session: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served(make_session, "a", ADA)
    monkeypatch.setenv("ASSAY_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("ASSAY_RUNS_DIR", str(settings.runs_dir))
    assert main(["monitoring", "forget", "--containing", "ada@", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would forget 1 score, and the texts of 0 audits\n"
    assert main(["monitoring", "forget", "--containing", "ada@", "--json"]) == 0
    assert kept(make_session) == ["a"]
    assert main(["monitoring", "forget", "--before", "2100-01-01"]) == 0
    assert kept(make_session) == []
    assert main(["monitoring", "forget"]) == 2
    assert "give one of prompt, prompt_hash, containing and before" in capsys.readouterr().err


@pytest.fixture
def shared(
    settings: Settings, audited: Callable[[float], Job], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Job]]:
    """``shared("read")``: an audit whose file another server deletes just before this one does that with it."""
    acts = {
        "stat": (Path, "stat"),
        "read": (forgetting, "read_jsonl"),
        "empty": (os, "truncate"),
        "date": (os, "utime"),
    }
    with monkeypatch.context() as patch:

        def make(act: str) -> Job:
            job = audited(2)
            owner, name = acts[act]
            real = getattr(owner, name)

            def late(file: Path, *arguments: Any, **named: Any) -> Any:
                if str(file) == job.recipe["path"]:
                    file.unlink(missing_ok=True)
                return real(file, *arguments, **named)

            patch.setattr(owner, name, late)
            return job

        yield make


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("act", ["stat", "read", "empty", "date"])
def test_files_that_another_server_deletes_meanwhile_hinder_nobody(
    settings: Settings, make_session: Sessions, shared: Callable[[str], Job], act: str
) -> None:
    shared(act)
    forgotten = forget_texts(make_session, settings, Forget(containing="ada@example.com"))
    assert forgotten.scores == 1
    assert ADA not in kept(make_session)
    forget(make_session, settings)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_an_audit_is_cancelled_before_its_file_is_emptied(
    settings: Settings, make_session: Sessions, audited: Callable[[float], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = audited(2)

    def fail(*_: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "utime", fail)
    with pytest.raises(OSError, match="disk"):
        forget_texts(make_session, settings, Forget(prompt=ADA))
    with make_session() as session:
        assert session.get_one(Job, job.id).status == "cancelled", "its file, empty by now, names it no more"


def test_an_audit_resumed_after_it_was_forgotten_has_its_new_events_seen_and_none_of_one_under_way_go(
    settings: Settings, make_session: Sessions, audited: Callable[[float], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, resumed = audited(4), audited(2)
    for job in (ended, resumed):
        with writing(make_session) as session:
            session.get_one(Job, job.id).events_seen = 7
            session.get_one(Job, job.id).status = "failed"
            session.add(JobEvent(job=job.id, sequence=7, time=NOW, type="message", data={"text": ADA}))
    real = retention._forget_quotations

    def late(sessions: Sessions, audits: Sequence[str]) -> None:
        assert set(audits) == {ended.id, resumed.id}
        with writing(make_session) as session:
            resume(session, resumed.id)
        real(sessions, audits)

    monkeypatch.setattr(retention, "_forget_quotations", late)
    forget_texts(make_session, settings, Forget(prompt=ADA))

    with make_session() as session:
        assert {job.id: job.events_seen for job in session.scalars(select(Job))} == {ended.id: 0, resumed.id: 7}
        assert list(session.scalars(select(JobEvent.job))) == [resumed.id]


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_rounds_write_nothing_of_audits_of_which_nothing_is_left(
    settings: Settings, make_session: Sessions, audited: Callable[[float], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = audited(2)
    with writing(make_session) as session:
        session.get_one(Job, job.id).status = "failed"
    forget_texts(make_session, settings, Forget(prompt=ADA))
    real, transactions = retention.writing, []

    def counted(sessions: Sessions) -> Any:
        transactions.append(1)
        return real(sessions)

    monkeypatch.setattr(retention, "writing", counted)
    forget(make_session, settings)
    assert len(transactions) == 2, "rows that are too old, and states"


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_files_are_looked_for_once_the_rows_are_gone_from_which_they_are_written(
    settings: Settings, make_session: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(make_session, ADA)
    file = settings.runs_dir.absolute() / "monitoring/late.jsonl"
    file.parent.mkdir(parents=True)
    real = forgetting.writing

    def late(sessions: Sessions) -> Any:
        file.write_text(f'{{"prompt_id": "p", "prompt": "{ADA}", "response": "5"}}\n')
        return real(sessions)

    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "writing", late)
        forget_texts(make_session, settings, Forget(containing=ADA))
    assert file.read_text() == ""


def test_a_text_is_found_however_its_accents_are_encoded() -> None:
    one, two = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    assert holds_text(one.upper(), "", f"from {two}")
    assert holds_text(two.upper(), f"from {one}", "")


def test_a_text_with_what_no_database_holds_is_found_as_it_was_stored() -> None:
    assert holds_text("ada\0@example.com", "", "from ada\ufffd@example.com")

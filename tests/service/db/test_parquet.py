"""What a database holds can be taken out as files and put into another one, of either kind, and is the same."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from service.cli import main
from service.db.browser_sessions import open_session
from service.db.keys import create_key
from service.db.parquet import MARKER_FILE, export_database, import_database
from service.db.session import make_engine, writing
from service.db.tables import (
    Alert,
    Alias,
    ArtifactRow,
    Comparison,
    Curve,
    DriftRow,
    JobEvent,
    JobMetric,
    MonitoredScorer,
    ServedScore,
    Table,
)
from service.db.workers import register
from service.slots import Machine
from tests.stored_runs import ingest_run
from trainer.errors import BrokenArtifact, Conflict, InvalidInput

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def filled(make_session: sessionmaker[Session], add_job: Callable[..., str], stress_run: Path) -> dict[str, int]:
    """Something in every table but none twice; returns how many rows."""
    run = add_job(labels={"team": "é"}, progress={"done": 3, "rate": 0.1}, lease_expires_at=AT)
    job = add_job("sft", "failed", error_code="run_failed", error_detail="no", idempotency_key="k")
    with writing(make_session) as session:
        ingest_run(session, run, stress_run)
        session.add(JobEvent(job=job, sequence=1, time=AT, type="message", data={"text": "tab\tline\n\\N"}))
        session.add(JobMetric(job=job, stage="train", name="loss", step=1, value=0.1 + 0.2))
        artifact = ArtifactRow(
            name="a/b", version=2, kind="policy", digest="d" * 64, job=job, manifest={"x": [1, None]}, created_at=AT
        )
        session.add(artifact)
        session.flush()
        session.add(Alias(name="a/b", alias="champion", version=2, updated_at=AT))
        open_session(session, create_key(session, "root", ["admin"])[1])
        register(session, "server", Machine(places=1, gpus=None))
        estimate = dict.fromkeys(("estimate", "lower", "upper", "standard_error"), 0.1)
        counted = {"n_prompts": 2, "n_responses": 6, "n_dropped": 0, "method": "m", "code_version": "1"}
        shared = {**estimate, **counted, "oracle": "judge", "stratum": "all", "created_at": AT}
        session.add(Curve(run=run, number=1, curve="c", scorer="s", x=4.0, **shared))
        pair = {"run_a": run, "run_b": job, "scorer_a": "s", "scorer_b": "t"}
        served = {"response_characters": 3, "score": -0.1, "tokens": 7, "truncated_tokens": 0, "response": "so\t"}
        session.add(ServedScore(id="srv_1", time=AT, scorer="rm@1:score", prompt=[{"role": "user"}], **served))
        session.add(MonitoredScorer(scorer="rm@1:score", reference={"score": [0.1]}, state=None, updated_at=AT))
        drift = {"estimate": 0.1, "lower": 0.0, "upper": 0.2, "n_responses": 6, "n_prompts": 2, "n_reference": 9}
        drift |= {"hour": AT, "created_at": AT, "measure": "score", "reference_kind": "validation"}
        session.add(DriftRow(scorer="rm@1:score", **drift))
        crossed = {"lower": 0.1, "threshold": 0.3, "detail": "r", "raised_at": AT, "tell_after": AT, "attempts": 0}
        session.add(Alert(id="alt_1", open_key="k", kind="trust", scorer="rm@1:score", subject="judge", **crossed))
        session.add(Comparison(id="cmp_1", statistic="r", verdict="worse", **pair, **shared))
    return {name: len(rows) for name, rows in contents(make_session.kw["bind"]).items()}


def contents(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in Table.metadata.sorted_tables
        }


@pytest.fixture(params=["sqlite", "postgres"])
def other(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty database to import into."""
    databases = request.getfixturevalue(f"{request.param}_databases")
    url = databases.migrated()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    databases.give_back(url)


def test_all_rows_come_back_the_same_in_either_kind_of_database(
    engine: Engine, other: Engine, filled: dict[str, int], tmp_path: Path
) -> None:
    assert all(filled.values()), filled

    assert export_database(engine, tmp_path / "out") == filled
    assert import_database(other, tmp_path / "out") == filled

    assert contents(other) == contents(engine)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_the_files_are_plain_parquet_and_say_what_they_are(
    engine: Engine, filled: dict[str, int], tmp_path: Path
) -> None:
    export_database(engine, tmp_path / "out")

    scores = pq.read_table(tmp_path / "out/scores.parquet")
    assert scores.num_rows == filled["scores"] == 18
    assert str(scores.schema.field("score").type) == "double"
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0
    with pytest.raises(Conflict, match="not empty"):
        export_database(engine, tmp_path / "out")


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("filled")
def test_what_is_no_whole_export_stores_nothing(engine: Engine, other: Engine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_database(engine, out)
    before = contents(other)
    marker = json.loads((out / MARKER_FILE).read_text())

    (out / MARKER_FILE).write_text(json.dumps({**marker, "migration": "0001"}))
    with pytest.raises(InvalidInput, match="exported at migration 0001"):
        import_database(other, out)
    (out / MARKER_FILE).write_text(json.dumps({**marker, "rows": {**marker["rows"], "scores": 19}}))
    with pytest.raises(BrokenArtifact, match="has 18 rows"):
        import_database(other, out)
    (out / MARKER_FILE).write_text(json.dumps(marker))
    (out / "scores.parquet").write_bytes(b"PAR1")
    with pytest.raises(BrokenArtifact, match="cannot be read"):
        import_database(other, out)
    (out / MARKER_FILE).unlink()
    with pytest.raises(InvalidInput, match="no complete export"):
        import_database(other, out)

    assert contents(other) == before


def test_a_database_in_use_is_not_imported_into(engine: Engine, filled: dict[str, int], tmp_path: Path) -> None:
    export_database(engine, tmp_path / "out")

    with pytest.raises(Conflict, match="has rows in"):
        import_database(engine, tmp_path / "out")

    assert {name: len(rows) for name, rows in contents(engine).items()} == filled


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_from_the_command_line(
    engine: Engine, filled: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, new = str(tmp_path / "out"), f"sqlite:///{tmp_path / 'new.db'}"

    assert main(["db", "export", out, "--database-url", engine.url.render_as_string(hide_password=False)]) == 0
    assert f"wrote {sum(filled.values())} rows of {len(filled)} tables" in capsys.readouterr().out
    assert main(["db", "import", out, "--database-url", new]) == 0
    assert main(["db", "import", out, "--database-url", new]) != 0
    assert contents(make_engine(new)) == contents(engine)

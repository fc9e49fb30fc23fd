"""How fast pages and the history are over years of runs: `python -m benchmarks.history --directory DIR`.

Makes a database of a million correlations and ten million scores of each kind below DIR, or uses the one that is there,
starts ``assay serve`` over it as it is installed, and lets one client ask, one request at a time, each a little
different. Milliseconds are the client's, from the first byte sent to the last one read; where other work keeps the
machine busy, the processor time of server and database together says more. What is printed is the table of
docs/benchmarks.md; how far it is goes to stderr.
"""

import argparse
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.history_database import Size, database
from benchmarks.history_requests import FILES, FIRST_BYTE, Ask, asked

GOAL_MS = 100.0

_UNTIL_GIVEN_UP_SECONDS = 1.0
"""Who hangs up after the first byte leaves the server with a part of the file under way, and it sends four at once."""

KINDS = ("SQLite", "PostgreSQL")


@dataclass(frozen=True)
class Spent:
    """Of requests of one kind, in milliseconds."""

    waited: Sequence[float]
    """Of the client, for each."""
    processors: float
    """Of server and database, on average."""

    @property
    def p50(self) -> float:
        return statistics.median(self.waited)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.waited, n=20)[18] if len(self.waited) > 1 else self.waited[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the databases are kept")
    parser.add_argument("--correlations", type=int, default=1_000_000)
    parser.add_argument("--scores", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=200, help="of each kind")
    parser.add_argument("--database", choices=KINDS, help="only this one")
    parser.add_argument("--only", default="", help="requests whose name holds this")
    parser.add_argument("--exports", action="store_true", help="all correlations as a file, too")
    options = parser.parse_args()
    size = Size(options.correlations, options.scores)
    found: dict[str, dict[str, Spent]] = {}
    for kind in KINDS if options.database is None else (options.database,):
        began = time.perf_counter()
        with database(kind, options.directory / kind.lower(), size) as (url, process):
            say(f"{kind}: {size.runs} runs, ready after {time.perf_counter() - began:.0f} s")
            with serving(url, process) as (address, processes), httpx.Client(base_url=address, timeout=600) as client:
                spent = found[kind] = {}
                for name, ask in asked(size).items():
                    if options.only in name:
                        whole = not name.startswith(FIRST_BYTE)
                        spent[name] = measure(client, ask, options.requests, processes, whole=whole)
                        tell(name, spent[name])
                if options.exports:
                    export(client, processes[0])
    print("\n".join(table(found)))


def table(found: Mapping[str, Mapping[str, Spent]]) -> Iterator[str]:
    """Lines of Markdown: a row for each kind of request, what is past the goal in bold."""
    headings = [heading for kind in found for heading in (f"{kind} p50, p95", "processors")]
    yield f"| {' | '.join(['what is asked', *headings])} |"
    yield "|---" * (1 + len(headings)) + "|"
    for name in next(iter(found.values())):
        cells = [cell for spent in found.values() for cell in (_waited(spent[name]), f"{spent[name].processors:.0f}")]
        yield f"| {' | '.join([name, *cells])} |"


def _waited(spent: Spent) -> str:
    p95 = f"{spent.p95:.0f}"
    return f"{spent.p50:.0f}, {p95 if spent.p95 <= GOAL_MS else f'**{p95}**'}"


def measure(
    client: httpx.Client, ask: Ask, requests: int, processes: Sequence[psutil.Process], *, whole: bool = True
) -> Spent:
    """After some requests that are not counted; to the first byte of an answer unless to its ``whole``."""
    made = random.Random(0)
    waited = []
    before = 0.0
    for number in range(-5, requests):
        if number == 0:
            before = processor_seconds(processes)
        path = ask(made)
        if not whole:
            time.sleep(_UNTIL_GIVEN_UP_SECONDS)
        began = time.perf_counter()
        with client.stream("GET", path) as answer:
            if whole or answer.status_code != 200:
                answer.read()
            else:
                next(answer.iter_raw(), b"")
            spent = 1000 * (time.perf_counter() - began)
            if answer.status_code != 200:
                raise SystemExit(f"{path}: {answer.status_code} {answer.text[:500]}")
        if number >= 0:
            waited.append(spent)
    return Spent(waited, 1000 * (processor_seconds(processes) - before) / requests)


def processor_seconds(processes: Sequence[psutil.Process]) -> float:
    """Of all of them, and of their children that run or have ended."""
    spent = 0.0
    for process in processes:
        spent += sum(process.cpu_times()[:4])
        for child in process.children():
            spent += sum(child.cpu_times()[:2])
    return spent


def tell(name: str, spent: Spent) -> None:
    say(
        f"  {name:56} p50 {spent.p50:7.1f}  p95 {spent.p95:7.1f}  most {max(spent.waited):7.1f} ms, of processors"
        f" {spent.processors:6.1f}{'' if spent.p95 <= GOAL_MS else '  past the goal'}; load {os.getloadavg()[0]:.1f}"
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def export(client: httpx.Client, process: psutil.Process) -> None:
    """Everything as a file of each kind, and the most that the server held meanwhile."""
    for kind in FILES:
        began, size, most = time.perf_counter(), 0, process.memory_info().rss
        before = most
        with client.stream("GET", f"/v1/history?format={kind}&sort=created_at") as answer:
            for number, part in zip(itertools.count(), answer.iter_raw(), strict=False):
                size += len(part)
                if number % 50 == 0:
                    most = max(most, process.memory_info().rss)
        say(
            f"  all as {kind:8} {time.perf_counter() - began:6.1f} s, {size / 1e6:.0f} MB; the server grew from"
            f" {before / 1e6:.0f} to {most / 1e6:.0f} MB"
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

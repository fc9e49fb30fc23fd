"""What sampling costs requests: throughput and processor time with and without, in turn, in one run.

python -m benchmarks.monitoring --artifacts DIRECTORY --scorer NAME
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from fastapi.testclient import TestClient

from service.app import create_app
from service.database import open_database
from service.settings import Settings

SHARES = {"off": 0.0, "a twentieth": 0.05, "all": 1.0}


def main() -> None:
    """Print a line for each share: pairs a second and processor seconds a thousand pairs, as ratios to off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=Path, required=True)
    parser.add_argument("--scorer", required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=32)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        clients = {
            name: stack.enter_context(_client(Path(directory) / name, asked.artifacts, share))
            for name, share in SHARES.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in clients}
        costs: dict[str, list[float]] = {name: [] for name in clients}
        for turn in range(asked.rounds + 1):
            for name, client in clients.items():
                wall, processor = time.perf_counter(), time.process_time()
                for number in range(asked.requests):
                    _ask(client, asked.scorer, f"{turn} {number}", asked.pairs)
                pairs = asked.requests * asked.pairs
                if turn:  # the first warms up
                    rates[name].append(pairs / (time.perf_counter() - wall))
                    costs[name].append(1000 * (time.process_time() - processor) / pairs)
    for name in SHARES:
        faster = statistics.median(a / b for a, b in zip(rates[name], rates["off"], strict=True))
        dearer = statistics.median(a / b for a, b in zip(costs[name], costs["off"], strict=True))
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"{name:12} {rate:8.0f} pairs/s ({faster:.3f})   {cost:6.3f} s a thousand pairs ({dearer:.3f})")


def _client(directory: Path, artifacts: Path, share: float) -> TestClient:
    settings = Settings(
        database_url=f"sqlite:///{directory / 'assay.db'}",
        artifact_dir=artifacts,
        runs_dir=directory / "runs",
        job_slots=0,
        monitor_share=share,
        monitor_keep="text",
        monitor_rows_per_hour=10_000_000,
    )
    with open_database(settings):
        return TestClient(create_app(settings, owner=True))


def _ask(client: TestClient, scorer: str, what: str, pairs: int) -> None:
    response = "the color is red . the size is large . " * 4
    items = [
        {"prompt": f"product lamp | color red ; size large {what} {number}", "response": response}
        for number in range(pairs)
    ]
    client.post("/v1/scores", json={"scorers": [scorer], "items": items}).raise_for_status()


if __name__ == "__main__":
    main()

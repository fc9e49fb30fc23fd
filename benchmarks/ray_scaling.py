"""What sharing a stress test over a Ray cluster gains and costs: `OMP_NUM_THREADS=1 python -m benchmarks.ray_scaling`.

Starts a cluster of two nodes on this machine, one processor each. Rounds alternate between the run's own process, one
worker and two, which sample and then score the same responses: a random policy and encoder of the demonstration's size.
Beginning, until the first rows are there, is told apart from the rest. ``--overhead`` instead has workers that make
rows up: what is left is what every row costs the one process that hands out shards and stores what comes back.
"""

import argparse
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.ray_cluster import start_cluster
from benchmarks.sampling import TEMPERATURES
from benchmarks.sampling import Work as Wanted
from benchmarks.scoring import published
from evaluation.generation.local import cut_grid
from evaluation.generation.sampler import grid
from evaluation.recipes.judging import Batch, ScorersAndControls
from evaluation.recipes.row_log import RowLog
from evaluation.recipes.sampled_policy import SampledPolicy, Sampling
from evaluation.recipes.stored_rows import response_row, score_row, stored_response
from evaluation.scorers.scorer import Column, Judgement
from evaluation.workers import Work, Worker
from evaluation.workers.settings import RaySettings, SharedLaunch, open_workers
from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.generation.decoding import Decoding
from trainer.generation.sampled import Cell, Sampled

AT_ONCE = 512
"""Responses that are scored together, as in a stress test."""
SHARDS = 8
ROWS = SHARDS * 20 * AT_ONCE
"""Rows that are made up."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--replicates", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--overhead", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place, start_cluster(head_cpus=1) as cluster:
        cluster.add_node(cpus=1)
        os.environ["RAY_ADDRESS"] = cluster.address
        if options.overhead:
            tell_overhead(Path(place), options.rounds)
        else:
            tell_scaling(Path(place), options)


# --- what is gained ----------------------------------------------------------------------------------------------


@dataclass
class Spent:
    """Seconds of a stage: until its first rows were there, and from then to its end."""

    beginning: float
    rest: float
    first: int
    """Rows that were there first."""
    rows: int

    @property
    def rate(self) -> float:
        """Rows a second once begun."""
        return (self.rows - self.first) / self.rest


def tell_scaling(place: Path, options: argparse.Namespace) -> None:
    wanted = Wanted("demo", options.prompts, options.replicates, options.tokens, tasks=1)
    wanted.policy().save(place / "policy")
    policy, store = SampledPolicy(path=str(place / "policy")), make_scorer(place / "artifacts")
    questions = wanted.questions()
    cells = grid([each.prompt_id for each in questions], TEMPERATURES, options.replicates)
    decoding = Decoding(0, options.tokens)
    shards = cut_grid(questions, cells, *policy.reading(store), decoding)
    print(f"{len(cells):,} responses of at most {options.tokens} tokens in {len(shards)} shards to sample")
    prompts = {each.prompt_id: each for each in questions}
    seen: dict[str, dict[int, list[Spent]]] = {"sample": {}, "score": {}}
    for _ in range(options.rounds):
        for workers in (0, 1, 2):
            spent, rows = carry_out(workers, shards, Sampling(policy, store, decoding))
            seen["sample"].setdefault(workers, []).append(spent)
            stored = sorted((stored_response(row, prompts) for row in rows), key=lambda each: str(each.cell))  # type: ignore[arg-type]
            batches = [Batch(stored[start : start + AT_ONCE], [0, 1]) for start in range(0, len(stored), AT_ONCE)]
            spent, _ = carry_out(workers, batches, ScorersAndControls(store, ["rm@1"]))
            seen["score"].setdefault(workers, []).append(spent)
    print(f"load {os.getloadavg()[0]:.1f}; medians of {options.rounds} rounds, in brackets the extremes")
    for stage, by_workers in seen.items():
        for workers, all_spent in by_workers.items():
            who = f"{workers} workers" if workers else "own process"
            begin = [each.beginning for each in all_spent]
            rate = [each.rate for each in all_spent]
            whole = [each.beginning + each.rest for each in all_spent]
            ratio = [a.rate / b.rate for a, b in zip(all_spent, by_workers[0], strict=True)]
            print(
                f"{stage:7}{who:12} {said(whole)} s, first rows after {said(begin)} s, then {said(rate, 0)} rows/s,"
                f" {said(ratio, 2)} times the own process"
            )


def carry_out(workers: int, shards: Sequence[Any], work: Work[Any, Any]) -> tuple[Spent, list[Any]]:
    """Do ``shards`` by so many workers, or in this process; returns what was found too."""
    launch = SharedLaunch(executor=RaySettings(ray_workers=workers))
    found: list[Any] = []
    with open_workers(launch, print) as crew:
        started = time.perf_counter()
        first = 0.0
        for rows in crew.over(shards, work):
            found += rows or ()
            if found and not first:
                first, count = time.perf_counter(), len(found)
        ended = time.perf_counter()
    return Spent(first - started, ended - first, count, len(found)), found


def make_scorer(place: Path) -> ArtifactStore:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    return published(place, BertForSequenceClassification(config).eval(), tokenizer, 256)


# --- what it costs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MadeUp:
    """The work of making rows up: ``found`` again and again, ``times`` a shard."""

    found: Sequence[Any]
    times: int

    @contextmanager
    def begin(self) -> Iterator[Worker[int, Sequence[Any]]]:
        yield lambda _: (self.found for _ in range(self.times))


def tell_overhead(place: Path, rounds: int) -> None:
    """What a row costs the run's process: to take it from one of two workers, and to store it."""
    facts = {"backend": "transformers", "dtype": "float32", "seed": 0, "top_p": 1.0, "torch": torch.__version__}
    text = "a response of some three hundred characters, as they are in the tables of docs/benchmarks.md. " * 3
    cells = [Cell(f"prompt-{i:05}", 1.0, i) for i in range(AT_ONCE)]
    responses = [response_row(Sampled(cell, text + str(i), 64, "stop", -1.5), facts) for i, cell in enumerate(cells)]
    judged = [(cell, Column("rm", 1, "scorer"), Judgement(0.123456789 + cell.replicate, 80, 0)) for cell in cells]
    for name, rows in (("responses", responses), ("scores", judged)):
        path = place / f"{name}.jsonl"
        told = [cost_of(MadeUp(rows, 20), RowLog(path)) for _ in range(rounds)]
        taken, stored, wall = zip(*told, strict=True)
        size = path.stat().st_size / rounds / ROWS
        print(
            f"{name} in lists of {AT_ONCE}: {said(taken, 0)} rows taken and {said(stored, 0)} stored a processor"
            f" second of the run's process, {said(wall, 0)} rows/s on the wall; {size:.0f} bytes a row on disk,"
            f" {len(pickle.dumps(rows)) / AT_ONCE:.0f} on the way; load {os.getloadavg()[0]:.1f}"
        )


def cost_of(work: MadeUp, log: RowLog) -> tuple[float, float, float]:
    """Rows a processor second taken and stored, and rows a second on the wall, from the first list on."""
    launch = SharedLaunch(executor=RaySettings(ray_workers=2))
    storing, rows, begun = 0.0, 0, (0.0, 0.0)
    with open_workers(launch, print) as crew:
        for found in crew.over(range(SHARDS), work):
            if found is None:
                continue
            if not rows:
                begun = time.process_time(), time.perf_counter()
            before = time.process_time()
            log.append(each if isinstance(each, dict) else score_row(*each) for each in found)
            storing += time.process_time() - before
            rows += len(found)
        spent, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
    assert rows == ROWS
    return rows / (spent - storing), rows / storing, rows / wall


def said(values: Sequence[float], digits: int = 1) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


if __name__ == "__main__":
    main()

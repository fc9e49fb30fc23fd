"""Speed and memory of the clustered bootstrap against resampling the rows, side by side in one run.

    python benchmarks/bootstrap.py [--rows 1000000] [--scorers 10] [--draws 10000] [--alone]

The peer draws the same prompts and recomputes three correlations from their rows, as a resampling library does; it is
given few draws and scaled up, for all of them would take hours.
"""

import argparse
import os
import resource
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Bootstrap
from evaluation.statistics.correlation import agree, correlate
from evaluation.statistics.measured import Frame
from evaluation.statistics.sample import Sample

RESPONSES_PER_PROMPT = 16
PEER_DRAWS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the clustered bootstrap")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--scorers", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument(
        "--alone", action="store_true", help="everything at once, without the peer: its own peak memory"
    )
    asked = parser.parse_args()
    generator = np.random.default_rng(0)
    prompts = asked.rows // RESPONSES_PER_PROMPT
    clusters = np.repeat(np.arange(prompts), RESPONSES_PER_PROMPT)
    oracle = generator.standard_normal(len(clusters))
    scores = {f"scorer-{i}": 0.1 * i * oracle + generator.standard_normal(len(clusters)) for i in range(asked.scorers)}

    length = generator.standard_normal(len(clusters))
    print(f"{len(clusters):,} rows, {prompts:,} prompts, {asked.scorers} scorers, {asked.draws:,} draws", flush=True)

    peer = None
    if not asked.alone:
        started = time.perf_counter(), time.process_time()
        for _ in range(PEER_DRAWS):
            resample_rows(generator, scores, oracle.reshape(prompts, -1))
        peer = [seconds * asked.draws / PEER_DRAWS for seconds in elapsed(started)]
        say(f"rows resampled, three statistics, scaled from {PEER_DRAWS} draws", peer, peer)

        started = time.perf_counter(), time.process_time()
        correlate(clusters, scores, {"oracle": oracle}, draws=asked.draws, confidence=0.95, seed=0)
        say("correlations, eight statistics", elapsed(started), peer)

    started = time.perf_counter(), time.process_time()
    sample = Sample(clusters, None, scores, {"oracle": oracle}, length=length)
    frame = Frame(None, "all", 0.95, "prompt-cluster bootstrap", len(clusters), None)
    found = agree(sample, frame, Bootstrap(prompts, None, asked.draws, 0), list(scores), ["oracle"], None)
    numbers = len(found.estimates) + len(found.points) + len(found.comparisons)
    say(f"everything, {numbers} numbers with intervals", elapsed(started), peer)


def say(what: str, seconds: Sequence[float], peer: Sequence[float] | None) -> None:
    """One line: time on the wall and of the processors, the peer's processor time over ours, memory so far."""
    ratio = "" if peer is None else f"ratio {peer[1] / seconds[1]:6.1f}, "
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    spent = f"{seconds[0]:9.1f} s, processor {seconds[1]:9.1f} s"
    print(f"{spent}, {ratio}peak {peak_gigabytes():.2f} GB, load {load}: {what}", flush=True)


def elapsed(started: tuple[float, float]) -> tuple[float, float]:
    """Seconds on the wall and of the processors since ``started``."""
    return time.perf_counter() - started[0], time.process_time() - started[1]


def resample_rows(
    generator: np.random.Generator, scores: dict[str, NDArray[np.float64]], oracle: NDArray[np.float64]
) -> None:
    """One draw the plain way; ``oracle`` is (prompts, responses)."""
    drawn = generator.integers(len(oracle), size=len(oracle))
    y = oracle[drawn]
    for score in scores.values():
        x = score.reshape(oracle.shape)[drawn]
        np.corrcoef(x.ravel(), y.ravel())
        np.corrcoef(x.mean(axis=1), y.mean(axis=1))
        np.corrcoef((x - x.mean(axis=1, keepdims=True)).ravel(), (y - y.mean(axis=1, keepdims=True)).ravel())


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()

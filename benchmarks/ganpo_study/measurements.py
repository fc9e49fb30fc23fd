"""What every seed's runs found, read from their directories into one table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from benchmarks.ganpo_study.arms import POLICIES, prefix, stress
from benchmarks.study.directory import ARTIFACTS, RUNS
from evaluation.reproduction.measurements import Measurements
from evaluation.reproduction.toy_world import ARMS, DECODER, DISCRIMINATOR, ENCODER, JUDGED, PROBE
from evaluation.run_files import CORRELATIONS_FILE
from evaluation.statistics.averages import MEAN
from trainer.artifacts import ArtifactStore
from trainer.files import read_jsonl
from trainer.run import read_result

GOLD, SATISFIED, LENGTH, TRUNCATED = "gold", "satisfied", "length", "truncated"
POOLED, WITHIN = "pearson_pooled", "pearson_within"
ACCURACY, MARGIN = "held_out_accuracy", "held_out_margin"
SPREAD, LARGEST = "spread", "largest"

UNTRAINED = "untrained discriminators"
"""All random discriminators of a seed together, as the subject of the spread and the largest size of their r."""

_MEANS = {"product_world": GOLD, "product_world:satisfied": SATISFIED, "length": LENGTH, "truncated": TRUNCATED}
_ORACLE = "product_world"


def read_measurements(directory: Path, seeds: Sequence[int]) -> Measurements:
    """Everything the study's runs below ``directory`` have measured."""
    values: dict[tuple[int, str, str, float | None], float] = {}
    for seed in seeds:
        for subject, measure, temperature, value in (*_held_out(directory, seed), *_sampled(directory, seed)):
            values[seed, subject, measure, temperature] = value
    return Measurements(values)


_Found = tuple[str, str, float | None, float]


def _held_out(directory: Path, seed: int) -> Iterator[_Found]:
    for name in (*ARMS, ENCODER, DECODER):
        result = read_result(directory / RUNS / (prefix(seed) + name))
        assert result is not None  # the schedule saw to it
        metrics = result["result"]["metrics"]
        accuracy = metrics.get("held_out/accuracy", metrics.get("held_out/rewards/accuracies"))
        yield name, ACCURACY, None, accuracy
        if "held_out/rewards/margins" in metrics:
            yield name, MARGIN, None, metrics["held_out/rewards/margins"]
    store = ArtifactStore(directory / ARTIFACTS)
    for scorer in (DISCRIMINATOR, PROBE):
        artifact, _, output = scorer.partition(":")
        metrics = store.open(prefix(seed) + artifact).manifest.metrics
        yield scorer, ACCURACY, None, metrics[f"held_out/{output}/accuracy"]


def _sampled(directory: Path, seed: int) -> Iterator[_Found]:
    for policy in POLICIES:
        rows = read_rows(directory / RUNS / (prefix(seed) + stress(policy)) / CORRELATIONS_FILE)
        for row in rows:
            if row["temperature"] is None or row["estimate"] is None:
                continue
            if row["statistic"] == MEAN and row["scorer"] in _MEANS:
                yield policy, _MEANS[row["scorer"]], row["temperature"], row["estimate"]
        if policy == JUDGED:
            correlations = list(_correlations(rows, seed))
            yield from correlations
            yield from untrained(correlations)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)]


def _correlations(rows: Sequence[dict[str, Any]], seed: int) -> Iterator[_Found]:
    for row in rows:
        known = row["estimate"] is not None and row["temperature"] is not None
        if known and row["oracle"] == _ORACLE and row["statistic"] in {POOLED, WITHIN}:
            yield row["scorer"].removeprefix(prefix(seed)), row["statistic"], row["temperature"], row["estimate"]


def untrained(correlations: Sequence[_Found]) -> Iterator[_Found]:
    """Standard deviation and largest size of r over the random discriminators, by statistic and temperature."""
    by_place: dict[tuple[str, float | None], list[float]] = {}
    for scorer, statistic, temperature, value in correlations:
        if scorer.startswith("random:"):
            by_place.setdefault((statistic, temperature), []).append(value)
    for (statistic, temperature), found in by_place.items():
        if len(found) > 1:
            yield UNTRAINED, f"{statistic}/{SPREAD}", temperature, stdev(found)
            yield UNTRAINED, f"{statistic}/{LARGEST}", temperature, max(map(abs, found))

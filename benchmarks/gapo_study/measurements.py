"""What every seed's runs found, read from their directories into one table."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.gapo_study.arms import (
    GAPO,
    POLICIES,
    PPO,
    PROBES,
    REINFORCED,
    REWARD_SCALE,
    TEMPERATURES,
    prefix,
    stress,
)
from benchmarks.study.directory import ARTIFACTS, RUNS
from evaluation.reproduction.measurements import Measurements, Place
from evaluation.run_files import PROMPTS_FILE, RESPONSES_FILE
from trainer.artifacts import ArtifactStore
from trainer.data.product_world import check
from trainer.data.product_world.task import Task
from trainer.files import read_jsonl
from trainer.reporting import read_events
from trainer.run import read_result

SATISFIED = "satisfied"
"""Share of responses that meet every constraint, by temperature."""
CONSTRAINTS = ("complete", "faithful", "wellformed", "len", "tone", "start", "before", "avoid")
EACH = "constraints"
"""Share of constraints met, over all of them (IFEval's instruction level)."""
SINGLE, WITH_LENGTH, COMBINATION = "single", "length", "combination"
GROUPS = {SINGLE: (1,), WITH_LENGTH: (2,), COMBINATION: (3, 4, 5)}
"""Levels of the world: facts alone; facts and a length; a tone, an order, words to avoid as well."""

WATCHED, PAID, ANCHOR, KL, ON_POLICY = "watched", "paid", "anchor", "kl", "on_policy"
"""By round: greedy held-out responses that meet every constraint, and of the round's own samples the reward as a share
of the most that is paid, the warm-up reward model's mean probability, nats per response, and those that do."""

AT_SAME_KL = "watched_at_same_kl"
"""Of PPO, ``WATCHED`` at the mark where it had come as far from its start, over five rounds, as GAPO at its end."""
ABOVE_CHANCE = "above_chance"
"""Held-out accuracy less one half, which is what a coin has."""
ACCURACY, AUC, RIGHT, CALIBRATION_ERROR = "held_out_accuracy", "auc", "probability_of_right", "calibration_error"
LIVE, FROZEN = "live", "anchor"
"""What became of a reward model in the rounds, and what it was before them."""

_Found = tuple[str, str, Place, float]


def read_measurements(directory: Path, seeds: Sequence[int]) -> Measurements:
    """Everything the study's runs below ``directory`` have measured."""
    values: dict[tuple[int, str, str, Place], float] = {}
    for seed in seeds:
        for part in (_judged, _rounds, _reward_models):
            for subject, measure, place, value in part(directory, seed):
                values[seed, subject, measure, place] = value
        values[seed, PPO, AT_SAME_KL, None] = at_same_kl(
            {round_: values[seed, PPO, WATCHED, round_] for round_ in _places(values, seed, PPO, WATCHED)},
            *(
                {round_: values[seed, arm, KL, round_] for round_ in _places(values, seed, arm, KL)}
                for arm in (PPO, GAPO)
            ),
        )
    return Measurements(values)


def at_same_kl(watched: dict[float, float], kl: dict[float, float], other: dict[float, float]) -> float:
    """What was ``watched`` at the mark where ``kl``, over five rounds, is nearest to the ``other``'s last five."""
    reached = _last_five(other, max(other))
    return watched[min(watched, key=lambda mark: abs(_last_five(kl, mark) - reached))]


def _last_five(kl: dict[float, float], mark: float) -> float:
    return mean(value for round_, value in kl.items() if mark - 5 < round_ <= mark)


def _places(values: dict[tuple[int, str, str, Place], float], *of: int | str) -> list[float]:
    return [place for *quantity, place in values if quantity == list(of) and place is not None]


def of_kind(accuracy: str, kind: str) -> str:
    """The measure of one kind of perturbation."""
    return f"{accuracy}/{kind}"


def model_of(role: str, arm: str) -> str:
    """The subject that a reward model is after the rounds of ``arm``."""
    return f"{arm}:{role}"


def _judged(directory: Path, seed: int) -> Iterator[_Found]:
    for policy in POLICIES:
        run = directory / RUNS / (prefix(seed) + stress(policy))
        tasks = {row["prompt_id"]: Task.from_json(row["task"]) for _, row in read_jsonl(run / PROMPTS_FILE)}
        for temperature in TEMPERATURES:
            rows = [row for _, row in read_jsonl(run / RESPONSES_FILE) if row["temperature"] == temperature]
            for measure, value in satisfaction([(tasks[row["prompt_id"]], row["response"]) for row in rows]).items():
                yield policy, measure, temperature, value


def satisfaction(judged: Sequence[tuple[Task, str]]) -> dict[str, float]:
    """By the exact checker: whole prompts, all and by group of levels, and constraints, all and by kind."""
    found: dict[str, list[bool]] = defaultdict(list)
    for task, response in judged:
        verdicts = check(task, response)
        whole = all(verdicts.values())
        found[SATISFIED].append(whole)
        for group, levels in GROUPS.items():
            if task.level in levels:
                found[group].append(whole)
        for constraint, met in verdicts.items():
            found[constraint].append(met)
            found[EACH].append(met)
    return {measure: mean(map(float, values)) for measure, values in found.items()}


def _rounds(directory: Path, seed: int) -> Iterator[_Found]:
    for name, arm in REINFORCED.items():
        for event in read_events(directory / RUNS / (prefix(seed) + name)):
            if event["type"] != "metrics" or event["stage"] != "train":
                continue
            values, number = event["values"], float(event["step"])
            paid = values["objective/rewards"] / REWARD_SCALE
            yield name, PAID, number, paid
            yield name, KL, number, values["objective/kl"]
            yield name, ON_POLICY, number, values["oracle/satisfied"]
            if arm.kind == GAPO:
                yield name, ANCHOR, number, values["anchor/probability"]
            if (watched := values.get("held_out/oracle/satisfied")) is not None:
                yield name, WATCHED, number, watched


def _reward_models(directory: Path, seed: int) -> Iterator[_Found]:
    store = ArtifactStore(directory / ARTIFACTS)
    for warm in dict.fromkeys([*(arm.reward_model for arm in REINFORCED.values()), *PROBES]):
        yield from _accuracies(warm, store.open(prefix(seed) + warm).manifest.metrics)
    for name, arm in REINFORCED.items():
        if arm.kind != GAPO:
            continue
        result = read_result(directory / RUNS / (prefix(seed) + name))
        assert result is not None  # the schedule saw to it
        for role, published in ((LIVE, "live_reward_model"), (FROZEN, "reward_model")):
            metrics = store.open(result["result"]["artifacts"][published]).manifest.metrics
            yield from _accuracies(model_of(role, name), metrics)
            for measure in (AUC, RIGHT, CALIBRATION_ERROR):
                if f"generations/{measure}" in metrics:
                    yield model_of(role, name), measure, None, metrics[f"generations/{measure}"]


def _accuracies(subject: str, metrics: dict[str, Any]) -> Iterator[_Found]:
    yield subject, ACCURACY, None, metrics["held_out/accuracy"]
    yield subject, ABOVE_CHANCE, None, metrics["held_out/accuracy"] - 0.5
    for key, value in metrics.items():
        if key.startswith("held_out/accuracy/"):
            yield subject, of_kind(ACCURACY, key.removeprefix("held_out/accuracy/")), None, value

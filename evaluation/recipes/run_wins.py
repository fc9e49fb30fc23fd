"""Two stress tests compared: which policy's responses are judged better, at each temperature and by each oracle.

Responses are paired by prompt and temperature: of every pair of one policy's response and the other's to the same
prompt, who wins (``statistics.policy_wins``), and prompts are drawn for the intervals.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.prompt_marks import numbered, repeated
from evaluation.recipes.stored_rows import cell_of
from evaluation.run_files import PROMPTS_FILE, SCORES_FILE
from evaluation.statistics.averages import averages
from evaluation.statistics.bootstrap import Bootstrap, BootstrapSettings, Floats, Ints
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.measured import Frame
from evaluation.statistics.policy_wins import win_rates
from trainer.errors import InvalidInput
from trainer.files import read_jsonl
from trainer.run import RESULT_FILE, read_result

Place = tuple[str, float]
"""A prompt's id and a temperature."""


@dataclass(frozen=True)
class StoredRun:
    """What a stress test's run directory says of its responses."""

    policy: str
    prompts: dict[str, Any]
    """By id."""

    judgements: dict[str, dict[Place, list[float]]]
    """By oracle, with its version where it has one: of each prompt and temperature, NaN where it said nothing."""


@dataclass(frozen=True)
class RunWins:
    """The first run's policy against the second's."""

    names: tuple[str, str]
    oracles: list[str]
    temperatures: list[float]
    prompts: dict[str, Any]
    """Those that both runs have, by id."""
    n_prompts: int
    """How many of them differ."""
    n_responses: int
    notices: list[str]
    estimates: list[Estimate]
    """``win_rate_over_NAME`` of the first policy, and both policies' ``mean`` judgements."""


def compare_runs(
    directories: Sequence[Path],
    oracle: str | None,
    settings: BootstrapSettings,
    seed: int,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> RunWins:
    """Compare two run directories, by ``oracle`` alone or by every oracle that both have.

    Raises InvalidInput for what is no stress test's directory, and for runs that have no prompt, temperature or
    oracle in common or give one id to different prompts.
    """
    first, second = (read_stored_run(each) for each in directories)
    names = _names(first, second, directories)
    prompts = _common_prompts(first, second)
    oracles = _common_oracles(first, second, oracle)
    numbers = numbered({each: first.prompts[each] for each in prompts})
    n_prompts = len(set(numbers.values()))
    temperatures = sorted({t for _, t in first.judgements[oracles[0]]} & {t for _, t in second.judgements[oracles[0]]})
    if not temperatures:
        raise InvalidInput("the two runs have no temperature in common; sample both at the same ones")
    notices = [*_left_out(first, second, prompts, oracles), *repeated(len(numbers), n_prompts)]
    estimates: list[Estimate] = []
    n_responses = 0
    for done, temperature in enumerate(temperatures):
        watch(done, len(temperatures))
        for place, name in enumerate(oracles):
            columns = _columns([each.judgements[name] for each in (first, second)], numbers, temperature)
            n_responses += len(columns[0]) if place == 0 else 0
            estimates += _at(columns, names, name, temperature, n_prompts, settings, seed)
    watch(len(temperatures), len(temperatures))
    common = {each: first.prompts[each] for each in prompts}
    return RunWins(names, oracles, temperatures, common, n_prompts, n_responses, notices, estimates)


def read_stored_run(directory: Path) -> StoredRun:
    """Read ``prompts.jsonl``, ``scores.jsonl`` and the policy's name. Raises InvalidInput where they are missing."""
    for name in (PROMPTS_FILE, SCORES_FILE, RESULT_FILE):
        if not (directory / name).is_file():
            raise InvalidInput(f"{directory} is not the directory of a finished stress test: it has no {name}")
    ended = read_result(directory)
    assert ended is not None
    if ended["status"] != "succeeded":
        raise InvalidInput(f"{directory} has {ended['status']}; resume it before it is compared")
    result = ended["result"] or {}
    prompts = {row["prompt_id"]: row["prompt"] for _, row in read_jsonl(directory / PROMPTS_FILE)}
    judgements: dict[str, dict[Place, list[float]]] = {}
    for _, row in read_jsonl(directory / SCORES_FILE):
        if row["role"] == "oracle":
            version = "" if row["scorer_version"] is None else f"@{row['scorer_version']}"
            cell = cell_of(row)
            place = cell.prompt_id, cell.temperature
            score = np.nan if row["score"] is None else row["score"]
            judgements.setdefault(f"{row['scorer']}{version}", {}).setdefault(place, []).append(score)
    if not judgements:
        raise InvalidInput(f"{directory} has no oracle's judgement; compare stress tests that have run to the end")
    return StoredRun(str(result.get("policy", directory.name)), prompts, judgements)


def _names(first: StoredRun, second: StoredRun, directories: Sequence[Path]) -> tuple[str, str]:
    if first.policy != second.policy:
        return first.policy, second.policy
    one, other = (f"{first.policy} ({each.name})" for each in directories)
    return one, other


def _common_prompts(first: StoredRun, second: StoredRun) -> list[str]:
    common = [each for each in first.prompts if each in second.prompts]
    if not common:
        raise InvalidInput("the two runs have no prompt in common; give both the same prompts")
    for each in common:
        if first.prompts[each] != second.prompts[each]:
            raise InvalidInput(f"prompt {each} is another text in the second run; give both the same prompts")
    return common


def _common_oracles(first: StoredRun, second: StoredRun, wanted: str | None) -> list[str]:
    common = [each for each in first.judgements if each in second.judgements]
    if wanted is not None:
        common = [each for each in common if wanted in (each, each.partition("@")[0])]
    if not common:
        asked = "no oracle in common" if wanted is None else f"no oracle {wanted!r} in common"
        theirs = "; the second ".join(", ".join(each.judgements) for each in (first, second))
        raise InvalidInput(f"the two runs have {asked}: the first has {theirs}")
    return common


def _left_out(first: StoredRun, second: StoredRun, prompts: Sequence[str], oracles: Sequence[str]) -> Iterator[str]:
    for which, run in (("first", first), ("second", second)):
        if len(run.prompts) > len(prompts):
            yield f"{len(run.prompts) - len(prompts)} prompts of the {which} run are left out: the other lacks them"
        if others := [each for each in run.judgements if each not in oracles]:
            yield f"judgements of {', '.join(others)} in the {which} run are left out"


Columns = tuple[Ints, Ints, Floats]
"""Prompt, policy and judgement of each response, (rows,)."""


def _columns(runs: Sequence[dict[Place, list[float]]], numbers: Mapping[str, int], temperature: float) -> Columns:
    rows = [
        (number, policy, value)
        for policy, judgements in enumerate(runs)
        for prompt, number in numbers.items()
        for value in judgements.get((prompt, temperature), ())
    ]
    prompt, policy, value = zip(*rows, strict=True)
    return np.array(prompt, np.int64), np.array(policy, np.int64), np.array(value, np.float64)


def _at(
    columns: Columns,
    names: tuple[str, str],
    oracle: str,
    temperature: float,
    n_prompts: int,
    settings: BootstrapSettings,
    seed: int,
) -> list[Estimate]:
    """The first policy's win rate over the second's, and the means of both."""
    prompt, policy, judgements = columns
    method = describe_draws(settings.draws, crossed=False)
    frame = Frame(temperature, "all", settings.confidence, method, len(prompt), None)
    bootstrap = Bootstrap(n_prompts, None, settings.draws, seed)
    found = [
        each
        for each in win_rates(prompt, policy, names, oracle, judgements, bootstrap, frame)
        if each.scorer == names[0]
    ]
    for number, name in enumerate(names):
        own = policy == number
        means = averages(
            prompt[own], {oracle: judgements[own]}, **settings.model_dump(), seed=seed, temperature=temperature
        )
        found += [each.model_copy(update={"scorer": name}) for each in means]
    return found

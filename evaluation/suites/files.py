"""The JSON files in which the ``rewardbench`` package keeps results: read as if scored here, and written for others.

A file of scores is an object of columns, ``subset``, ``id`` and ``model`` among them: for RewardBench
``scores_chosen`` and ``scores_rejected``, for RewardBench 2 ``scores`` and ``num_correct``, the right answers first. A
file of results is an object from subsets to accuracies.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.estimate import Estimate
from evaluation.suites.suite import Item, Scores, outcomes
from trainer.errors import InvalidInput
from trainer.files import write_atomically


@dataclass(frozen=True)
class Recorded:
    """Scores that somebody published."""

    model: str
    suite: str
    items: list[Item]
    scores: Scores


def read_scores(path: Path) -> Recorded:
    """A file of scores. Raises InvalidInput for one of another form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path}: expected an object of columns, as rewardbench writes")
    second = "scores" in content
    needed = ("scores", "num_correct", "subset") if second else ("scores_chosen", "scores_rejected", "subset")
    columns: list[list[Any]] = [content[name] for name in needed if isinstance(content.get(name), list)]
    if len(columns) < len(needed) or len({len(each) for each in columns}) > 1 or not columns[0]:
        raise InvalidInput(f"{path}: expected columns {', '.join(needed)} of one length, as rewardbench writes")
    subsets = [str(each) for each in columns[-1]]
    identities = content.get("id") or list(range(len(subsets)))
    if not isinstance(identities, list) or len(identities) != len(subsets):
        raise InvalidInput(f"{path}: expected as many ids as there are rows, {len(subsets)}")
    scores: list[tuple[Floats, Floats]] = []
    items = []
    for index, (first, other) in enumerate(zip(columns[0], columns[1], strict=True)):
        try:
            sides = (first[: int(other)], first[int(other) :]) if second else ([first], [other])
            chosen, rejected = (np.array(side, dtype=np.float64).ravel() for side in sides)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{path}, row {index}: scores must be numbers") from error
        if not chosen.size or not rejected.size:
            raise InvalidInput(f"{path}, row {index}: no score of a right or of a wrong answer")
        identity, subset = str(identities[index]), subsets[index]
        # texts are not needed to count; rows of Ties with one number belong together
        cluster = f"ties {identity.partition(':')[2]}" if subset.lower() == "ties" else f"{subset} {identity}"
        items.append(Item("", ("",) * chosen.size, ("",) * rejected.size, subset, identity, cluster))
        scores.append((chosen, rejected))
    suite = "reward_bench_2" if second else "reward_bench"
    return Recorded(str(content.get("model", path.stem)), suite, items, scores)


def write_results(
    directory: Path, model: str, suite: str, items: Sequence[Item], scores: Scores, estimates: Sequence[Estimate]
) -> None:
    """Write ``results/MODEL.json`` and ``scores/MODEL.json`` below ``directory``; a missing number is null."""
    own_rule = next(each.statistic for each in estimates if each.stratum == "all")
    subsets = {each.subset for each in items}
    results = {
        each.stratum: each.estimate for each in estimates if each.statistic == own_rule and each.stratum in subsets
    }
    name = model.replace("/", "_").replace(":", "_")
    about = {"model": model, "model_type": "Assay", "chat_template": "tokenizer"}
    _write(directory / "results" / f"{name}.json", {**about, **results})
    columns: dict[str, Any] = {"id": [each.id for each in items], "subset": [each.subset for each in items]}
    strict, shared = outcomes(scores)
    if suite == "reward_bench":
        columns["scores_chosen"] = [_number(chosen[0]) for chosen, _ in scores]
        columns["scores_rejected"] = [_number(rejected[0]) for _, rejected in scores]
        columns["results"] = [_number(each) for each in strict]
    else:
        columns["scores"] = [[_number(each) for side in sides for each in side] for sides in scores]
        columns["num_correct"] = [len(chosen) for chosen, _ in scores]
        columns["results"] = [
            None if item.subset.lower() == "ties" else _number(each) for item, each in zip(items, shared, strict=True)
        ]
    _write(directory / "scores" / f"{name}.json", {**about, **columns})


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

"""Single prompts behind a comparison: where two scorers pick different responses, where two runs swap places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.statistics.bootstrap import Ints
from evaluation.statistics.run_comparison import RunScores
from evaluation.statistics.sample import temperatures_of


@dataclass(frozen=True)
class Pick:
    """The responses to one prompt that two scorers like best, as rows of the run, and the oracle's values of them."""

    prompt: str
    row_a: int
    row_b: int
    value_a: float
    value_b: float


@dataclass(frozen=True)
class Picks:
    """Over the prompts with two responses or more that both scorers and the oracle gave a value to."""

    n_prompts: int
    n_a: int
    """Where the oracle prefers the first scorer's pick."""
    n_b: int
    flipped: list[Pick]
    """Where it prefers one of them, the farthest apart first."""


@dataclass(frozen=True)
class Swap:
    """The oracle's mean of one prompt's responses in two runs."""

    prompt: str
    mean_a: float
    mean_b: float


@dataclass(frozen=True)
class Swaps:
    """Over the prompts that both runs have."""

    n_prompts: int
    n_a: int
    """Where the first run's mean is the higher."""
    n_b: int
    mean_a: float
    """Mean over these prompts of their means."""
    mean_b: float
    flipped: list[Swap]
    """Prompts whose means lie the other way round than all together, the farthest apart first."""


def picks(run: RunScores, scorer_a: str, scorer_b: str, oracle: str) -> Picks:
    """Which of its responses to a prompt each scorer would choose; of equal scores the first response counts."""
    a, b, judged = run.scorers[scorer_a], run.scorers[scorer_b], run.oracles[oracle]
    known = np.flatnonzero(np.isfinite(a) & np.isfinite(b) & np.isfinite(judged))
    found = []
    n_prompts = 0
    for rows in _by_prompt(run.prompts, known).values():
        if len(rows) < 2:
            continue
        n_prompts += 1
        row_a, row_b = int(rows[np.argmax(a[rows])]), int(rows[np.argmax(b[rows])])
        found.append(Pick(run.prompts[row_a], row_a, row_b, float(judged[row_a]), float(judged[row_b])))
    flipped = [each for each in found if each.value_a != each.value_b]
    n_a = sum(each.value_a > each.value_b for each in flipped)
    flipped.sort(key=lambda each: -abs(each.value_a - each.value_b))
    return Picks(n_prompts, n_a, len(flipped) - n_a, flipped)


def swaps(a: RunScores, b: RunScores, oracle: str) -> Swaps | None:
    """Over the temperatures that both runs have, each counting the same; None where they share no prompt there."""
    common = set(temperatures_of(a.temperature)) & set(temperatures_of(b.temperature))
    means_a, means_b = _means(a, oracle, common), _means(b, oracle, common)
    both = [Swap(prompt, means_a[prompt], means_b[prompt]) for prompt in means_a if prompt in means_b]
    if not both:
        return None
    mean_a, mean_b = (float(np.mean([getattr(each, name) for each in both])) for name in ("mean_a", "mean_b"))
    flipped = [each for each in both if (each.mean_a - each.mean_b) * (mean_a - mean_b) < 0]
    flipped.sort(key=lambda each: -abs(each.mean_a - each.mean_b))
    n_a, n_b = sum(each.mean_a > each.mean_b for each in both), sum(each.mean_a < each.mean_b for each in both)
    return Swaps(len(both), n_a, n_b, mean_a, mean_b, flipped)


def _means(run: RunScores, oracle: str, temperatures: set[float]) -> dict[str, float]:
    """By prompt, the mean over temperatures of the oracle's mean at each; of prompts known at all of them."""
    judged = run.oracles[oracle]
    found: dict[str, list[float]] = {}
    grid: list[float | None] = [*sorted(temperatures)] or [None]
    for temperature in grid:
        at = np.isfinite(judged) & (
            np.isnan(run.temperature) if temperature is None else run.temperature == temperature
        )
        for prompt, rows in _by_prompt(run.prompts, np.flatnonzero(at)).items():
            found.setdefault(prompt, []).append(float(judged[rows].mean()))
    return {prompt: float(np.mean(means)) for prompt, means in found.items() if len(means) == len(grid)}


def _by_prompt(prompts: Sequence[str], rows: Ints) -> dict[str, Ints]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(prompts[int(row)], []).append(int(row))
    return {prompt: np.array(its, dtype=np.int64) for prompt, its in found.items()}

"""What a stress test's run directory says of one policy, as columns, and statistics of them with bootstrap draws."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.recipes.stored_rows import cell_of
from evaluation.run_files import PROMPTS_FILE, RESPONSES_FILE, SCORES_FILE
from evaluation.statistics.agreement import STATISTICS, measure
from evaluation.statistics.bootstrap import Bootstrap, Floats, Ints
from evaluation.statistics.length_controlled import length_controlled
from evaluation.statistics.sums import Column
from trainer.files import read_jsonl

_STATISTICS = {each.name: each for each in STATISTICS}


@dataclass(frozen=True)
class Answers:
    """Responses of one policy, rows sorted by prompt; scores that are missing are NaN."""

    n_prompts: int
    prompt: Ints
    """From 0, in the order of the prompts' file: the same prompt in every run on the same prompts."""
    temperature: Floats
    replicate: Ints
    characters: Floats
    scores: Mapping[str, Floats]
    """By scorer or oracle."""

    def at(self, temperature: float) -> "Answers":
        """The responses of one temperature."""
        return self.where(self.temperature == temperature)

    def where(self, rows: NDArray[np.bool_]) -> "Answers":
        """Some of the responses."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return Answers(
            self.n_prompts,
            self.prompt[rows],
            self.temperature[rows],
            self.replicate[rows],
            self.characters[rows],
            scores,
        )


def read_answers(directory: Path) -> Answers:
    """The responses and scores of a finished stress test."""
    prompts = {row["prompt_id"]: place for place, (_, row) in enumerate(read_jsonl(directory / PROMPTS_FILE))}
    responses = [row for _, row in read_jsonl(directory / RESPONSES_FILE)]
    responses.sort(key=lambda row: (prompts[row["prompt_id"]], row["temperature"], row["replicate"]))
    places = {cell_of(row): place for place, row in enumerate(responses)}
    scores: dict[str, Floats] = {}
    for _, row in read_jsonl(directory / SCORES_FILE):
        column = scores.setdefault(row["scorer"], np.full(len(responses), np.nan))
        if row["score"] is not None:
            column[places[cell_of(row)]] = row["score"]
    return Answers(
        len(prompts),
        np.array([prompts[row["prompt_id"]] for row in responses], dtype=np.int64),
        np.array([row["temperature"] for row in responses], dtype=np.float64),
        np.array([row["replicate"] for row in responses], dtype=np.int64),
        np.array([len(row["response"]) for row in responses], dtype=np.float64),
        scores,
    )


@dataclass(frozen=True)
class Battles:
    """Responses against a baseline's to the same prompt, a row each."""

    prompt: Ints
    preference: Floats
    """1 where the response is the better one, 1/2 for a tie, 0 where it is worse; of a judge, anything between."""
    characters: Floats
    baseline_characters: Floats

    def of_length(self, low: float, high: float) -> "Battles":
        """Those whose response has from ``low`` to less than ``high`` characters."""
        rows = (self.characters >= low) & (self.characters < high)
        return Battles(self.prompt[rows], self.preference[rows], self.characters[rows], self.baseline_characters[rows])


def fight(own: Answers, baseline: Answers, oracle: str, *, apart: bool = False) -> Battles:
    """Every response against every one of the baseline's to the same prompt: the higher judgement wins.

    ``apart`` leaves out those of equal replicate, as of a policy against itself.
    """
    rows = [
        (i, j)
        for prompt in range(own.n_prompts)
        for i in _of(own, prompt)
        for j in _of(baseline, prompt)
        if not (apart and own.replicate[i] == baseline.replicate[j])
    ]
    first, second = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    difference = own.scores[oracle][first] - baseline.scores[oracle][second]
    known = np.isfinite(difference)
    first, second, difference = first[known], second[known], difference[known]
    return Battles(own.prompt[first], (1 + np.sign(difference)) / 2, own.characters[first], baseline.characters[second])


def judged(own: Answers, judge: str, baseline_characters: Sequence[float]) -> Battles:
    """Battles that a judge decided, whose score is how far it prefers the response.

    ``baseline_characters`` has one number for each prompt.
    """
    known = np.isfinite(own.scores[judge])
    prompt = own.prompt[known]
    return Battles(prompt, own.scores[judge][known], own.characters[known], np.array(baseline_characters)[prompt])


@dataclass(frozen=True)
class Drawn:
    """A number, and what it is in every bootstrap draw of the prompts (draws,); None of a single prompt."""

    value: float
    replicates: Floats | None


class Draws:
    """Bootstrap draws of one seed's prompts, the same for everything that is measured on them."""

    def __init__(self, n_prompts: int, draws: int, seed: int) -> None:
        self._bootstrap = Bootstrap(n_prompts, None, draws, seed)
        self._weights = np.concatenate(list(self._bootstrap.weights(1))) if n_prompts > 1 else None

    def mean(self, prompt: Ints, values: Floats) -> Drawn | None:
        """Mean of ``values`` (rows,) that are finite; None where there are none."""
        known = np.isfinite(values)
        return self._drawn(prompt[known], lambda weights: weights @ values[known] / weights.sum(axis=1))

    def log_mean(self, prompt: Ints, values: Floats) -> Drawn | None:
        """Logarithm of the mean of ``values`` (rows,), above 0."""
        found = self.mean(prompt, values)
        if found is None:
            return None
        return Drawn(float(np.log(found.value)), None if found.replicates is None else np.log(found.replicates))

    def win_rate(self, battles: Battles) -> Drawn | None:
        """Share of the battles that is won."""
        return self.mean(battles.prompt, battles.preference)

    def length_controlled(self, battles: Battles) -> Drawn | None:
        """What that share would be at equal lengths, refitted in every draw; the difficulty's term is left out."""
        difference = battles.characters - battles.baseline_characters
        return self._drawn(
            battles.prompt, lambda weights: length_controlled(battles.preference, difference, None, weights)
        )

    def correlation(self, statistic: str, prompt: Ints, score: Floats, oracle: Floats) -> Drawn | None:
        """A statistic of ``evaluation.statistics.agreement``; ``prompt`` (rows,) is sorted."""
        known = np.isfinite(score) & np.isfinite(oracle)
        column = Column(prompt[known], score[known], oracle[known], self._bootstrap.n_prompts, None, 1)
        [totals] = self._bootstrap.totals([column])
        found = measure(_STATISTICS[statistic], column.contributions(None)[0], totals)
        return None if found.value is None else Drawn(found.value, found.replicates)

    def _drawn(self, prompt: Ints, statistic: Callable[[Floats], Floats]) -> Drawn | None:
        if not len(prompt):
            return None
        value = float(statistic(np.ones((1, len(prompt))))[0])
        if self._weights is None:
            return Drawn(value, None)
        weights = self._weights[:, prompt]
        some = weights.sum(axis=1) > 0  # a draw may miss every prompt that has such rows
        replicates = np.full(len(weights), np.nan)
        replicates[some] = statistic(weights[some])
        return Drawn(value, replicates)


def _of(answers: Answers, prompt: int) -> range:
    low, high = np.searchsorted(answers.prompt, [prompt, prompt + 1])
    return range(int(low), int(high))

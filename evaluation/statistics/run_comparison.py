"""Which of two runs agrees better with an oracle within prompts: a paired difference, as between scorers of one run.

Prompts are joined by what they say. Where both runs hold the same responses, scorers are compared on the responses that
both could score; where they share prompts only, on the prompts that have two usable responses in both, each prompt
being drawn for both runs at once, so that what is easy or hard about it cancels; and where they share fewer than two
prompts, from independent draws of each run's own prompts, which is named *unpaired*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.statistics.agreement import STATISTICS, influences_of, measure
from evaluation.statistics.bootstrap import Bootstrap, BootstrapSettings, Contributions, Floats, Ints
from evaluation.statistics.comparison import compare, difference
from evaluation.statistics.estimate import Comparison
from evaluation.statistics.influence import Influences
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.measured import Frame, Measured
from evaluation.statistics.sums import Column
from trainer.errors import InvalidInput

RESPONSES, PROMPTS, UNPAIRED = "on common responses", "on common prompts", "unpaired: the runs share no two prompts"

_WITHIN = next(each for each in STATISTICS if each.name == "pearson_within")
_NO_TEMPERATURE = -1.0
"""Stands for a temperature that was not recorded; those that were are 0 or more."""


@dataclass(frozen=True)
class RunScores:
    """What one run scored; NaN is missing."""

    prompts: Sequence[str]
    """What each row's prompt says (rows,)."""

    temperature: Floats
    """NaN where none was recorded."""

    responses: Sequence[str]
    scorers: Mapping[str, Floats]
    oracles: Mapping[str, Floats]


class RunComparison(Comparison):
    """A difference between two runs, or between scorers of two runs, with both correlations on the rows compared."""

    r_a: float | None
    r_b: float | None


def compare_runs(
    a: RunScores, b: RunScores, scorers: Sequence[tuple[str, str]], settings: BootstrapSettings, seed: int = 0
) -> list[RunComparison]:
    """atanh r_a - atanh r_b within prompts by common oracle, over all common temperatures and at each of them.

    ``scorers`` are pairs of a scorer of the first run and one of the second; the intervals of one oracle and
    temperature hold all at once. Raises InvalidInput where the runs have no oracle or no temperature in common.
    """
    oracles = [name for name in a.oracles if name in b.oracles]
    if not oracles:
        of_a, of_b = (", ".join(each.oracles) or "none" for each in (a, b))
        raise InvalidInput(f"no oracle judged both runs; the first has {of_a}, the second {of_b}")
    times = [np.nan_to_num(each.temperature, nan=_NO_TEMPERATURE) for each in (a, b)]
    common = np.intersect1d(times[0], times[1])
    if not common.size:
        raise InvalidInput("the runs have no temperature in common, so there is nothing to compare")
    texts = {text: number for number, text in enumerate(dict.fromkeys([*a.prompts, *b.prompts]))}
    found = []
    for temperature in [None, *(float(each) for each in common if each != _NO_TEMPERATURE)]:
        wanted = common if temperature is None else [temperature]
        sides = [
            _Side.of(run, np.flatnonzero(np.isin(time, wanted)), texts) for run, time in zip((a, b), times, strict=True)
        ]
        for oracle in oracles:
            found += _compared(sides[0], sides[1], oracle, scorers, temperature, settings, seed)
    return found


@dataclass(frozen=True)
class _Side:
    """Rows of one run, in an order that is the same for equal responses."""

    run: RunScores
    rows: Ints
    prompt: Ints
    """A number for what the prompt says, the same in both runs."""

    @classmethod
    def of(cls, run: RunScores, rows: Ints, texts: Mapping[str, int]) -> "_Side":
        prompt = np.array([texts[run.prompts[int(row)]] for row in rows], dtype=np.int64)
        time = np.nan_to_num(run.temperature[rows], nan=_NO_TEMPERATURE)
        order = sorted(range(len(rows)), key=lambda i: (prompt[i], time[i], run.responses[int(rows[i])]))
        return cls(run, rows[order], prompt[order])

    def same_responses(self, other: "_Side") -> bool:
        """Whether row by row both hold the same response to the same prompt."""
        mine, theirs = ([side.run.responses[int(row)] for row in side.rows] for side in (self, other))
        return np.array_equal(self.prompt, other.prompt) and mine == theirs

    def values(self, scorer: str, oracle: str) -> tuple[Floats, Floats]:
        return self.run.scorers[scorer][self.rows], self.run.oracles[oracle][self.rows]

    def known(self, scorer: str, oracle: str) -> Ints:
        """1 for rows with both values, else 0 (rows,)."""
        return np.asarray(np.isfinite(np.stack(self.values(scorer, oracle))).all(axis=0), dtype=np.int64)

    def column(self, scorer: str, oracle: str, keep: Ints) -> Column:
        """The kept rows, their prompts numbered from 0."""
        x, y = (each[keep == 1] for each in self.values(scorer, oracle))
        prompts, prompt = np.unique(self.prompt[keep == 1], return_inverse=True)
        return Column(prompt, x, y, len(prompts), None, 1)


def _compared(
    a: _Side,
    b: _Side,
    oracle: str,
    scorers: Sequence[tuple[str, str]],
    temperature: float | None,
    settings: BootstrapSettings,
    seed: int,
) -> list[RunComparison]:
    how = UNPAIRED if len(np.intersect1d(a.prompt, b.prompt)) < 2 else PROMPTS
    how = RESPONSES if how == PROMPTS and a.same_responses(b) else how
    n_total = len(a.rows) if how == RESPONSES else len(a.rows) + len(b.rows)
    differences, both = {}, []
    for one, other in scorers:
        keep_a, keep_b = a.known(one, oracle), b.known(other, oracle)
        if how == RESPONSES:
            keep_a = keep_b = keep_a * keep_b
        elif how == PROMPTS:
            comparable = np.intersect1d(_twice(a.prompt, keep_a), _twice(b.prompt, keep_b))
            keep_a, keep_b = keep_a * np.isin(a.prompt, comparable), keep_b * np.isin(b.prompt, comparable)
        columns = a.column(one, oracle, keep_a), b.column(other, oracle, keep_b)
        found, r_a, r_b = (_independent if how == UNPAIRED else _paired)(*columns, settings.draws, seed)
        used = int(keep_a.sum()) + (0 if how == RESPONSES else int(keep_b.sum()))
        differences[one, other] = replace(found, n_responses=used), n_total - used
        both.append((r_a, r_b))
    frame = Frame(temperature, "all", settings.confidence, describe_draws(settings.draws, crossed=False), n_total, None)
    rows = compare(differences, oracle, frame, where=how)
    return [RunComparison(**row.model_dump(), r_a=r_a, r_b=r_b) for row, (r_a, r_b) in zip(rows, both, strict=True)]


def _twice(prompt: Ints, keep: Ints) -> Ints:
    """The prompts with two kept rows or more."""
    return np.flatnonzero(np.bincount(prompt, keep) >= 2)


Found = tuple[Measured, float | None, float | None]
"""A difference and both correlations."""


def _paired(a: Column, b: Column, draws: int, seed: int) -> Found:
    """Every draw takes the same prompts of both."""
    sums = [each.contributions(None)[0] for each in (a, b)]
    one, other = (influences_of(_WITHIN, each) if len(each) else None for each in sums)
    moved = Influences({"difference": None if one is None or other is None else one - other})
    asked: list[Contributions] = [a, b, moved] if moved.width else [a, b]
    totals = Bootstrap(len(sums[0]), None, draws, seed).totals(asked)
    r_a, r_b = (measure(_WITHIN, each, total) for each, total in zip(sums, totals, strict=False))
    found = moved.sure("difference", difference(r_a, r_b), totals[2] if moved.width else None)
    return found, r_a.value, r_b.value


def _independent(a: Column, b: Column, draws: int, seed: int) -> Found:
    """Each run's prompts are drawn for themselves, so variances add."""
    measured, errors = [], []
    for place, column in enumerate((a, b)):
        sums = column.contributions(None)[0]
        moved = Influences({"r": influences_of(_WITHIN, sums)} if len(sums) else {})
        asked: list[Contributions] = [column, moved] if moved.width else [column]
        totals = Bootstrap(len(sums), None, draws, seed + place).totals(asked)
        measured.append(measure(_WITHIN, sums, totals[0]))
        errors.append(moved.sure("r", measured[-1], totals[1]).errors if moved.width else None)
    found = difference(*measured)
    if errors[0] is not None and errors[1] is not None:
        (s_a, draws_a), (s_b, draws_b) = errors[0], errors[1]
        found = replace(found, errors=(float(np.hypot(s_a, s_b)), np.hypot(draws_a, draws_b)))
    fewest = min(each.n_prompts for each in measured)
    return replace(found, n_prompts=fewest), measured[0].value, measured[1].value

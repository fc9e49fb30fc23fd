"""Judged responses as columns of numbers, filled a few rows at a time: a million texts are never held at once."""

import math
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice

import numpy as np

from evaluation.engine.pairs import Pair
from evaluation.judged import JudgedRow, finite
from evaluation.prompt_marks import mark_of
from evaluation.scorers.controls import CONTROLS
from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.degeneration import DEGENERATE, MEASURES, measure_text
from trainer.errors import AssayError, InvalidInput

RECORDED = "recorded:"
"""Prefix of a scorer or oracle that the file itself brings."""

_ROWS_AT_ONCE = 256

Lines = Iterable[tuple[int, JudgedRow]]
ScorePairs = Callable[[Sequence[str], Sequence[Pair]], dict[str, list[float | AssayError]]]
"""Each named scorer's scores of pairs, in order; an error stands where a pair has none."""


def is_registered(name: str) -> bool:
    """Whether a scorer's name means an artifact, rather than a column of the file or a trivial control."""
    return name not in CONTROLS and not name.startswith(RECORDED)


class JudgedColumns:
    """What each row is called, what it has in common with others, and its values by scorer or oracle."""

    def __init__(
        self, names: Collection[str], *, controls: Collection[str], cluster: str | None, score: ScorePairs | None
    ) -> None:
        """``names`` are wanted, ``controls`` as far as the rows allow; ``score`` is asked for registered scorers."""
        self.errors: dict[str, tuple[int, str]] = {}
        """By registered scorer, how many rows it could not score, and why not the first, as ``line 3: ...``."""
        self._names = names
        self._registered = [name for name in names if is_registered(name)]
        self._cluster_name = cluster
        self._score = score
        self._prompts: dict[str, int] = {}
        """By id the prompt's number: equal prompts have one, whatever they are called."""
        self._marks: dict[str, int] = {}
        self.untold = False
        """Whether a row tells no prompt, so that nobody knows which others it is equal to."""
        self._groups: dict[str, int] = {}
        self._prompt, self._group = array("q"), array("q")
        self._temperature = array("d")
        self._values = {name: array("d") for name in [*names, *controls]}
        self._tokens, self._characters, self._truncated = array("d"), array("d"), array("d")
        self._texts = {name: array("d") for name in [*MEASURES, DEGENERATE]}
        self._recorded: dict[str, None] = {}
        self._has_responses = False

    def read(self, lines: Lines, watch: Callable[[int], None] = lambda _: None) -> None:
        """Add every row; ``watch`` is told between whiles how many are scored.

        Raises InvalidInput for a row without its cluster, or a column that no row has.
        """
        rows = iter(lines)
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            self._add_registered(chunk)
            for line, row in chunk:
                self._add(line, row)
            watch(self.n_rows)
        self._check()

    @property
    def n_rows(self) -> int:
        return len(self._prompt)

    @property
    def n_prompts(self) -> int:
        return len(self._marks)

    @property
    def n_prompt_ids(self) -> int:
        return len(self._prompts)

    @property
    def prompt_marks(self) -> list[str]:
        """Of every prompt, in the order of their numbers, as ``mark_of`` gives it."""
        return list(self._marks)

    @property
    def prompt(self) -> Ints:
        """Which prompt each row answers, (rows,)."""
        return np.frombuffer(self._prompt, dtype=np.int64)

    @property
    def cluster(self) -> Ints | None:
        """Which second cluster each row belongs to, (rows,); None where none was asked for."""
        return None if self._cluster_name is None else np.frombuffer(self._group, dtype=np.int64)

    @property
    def cluster_names(self) -> list[str]:
        """What the second clusters are called, by number."""
        return list(self._groups)

    @property
    def temperature(self) -> Floats:
        """At which temperature each row was sampled, (rows,); NaN where it is not recorded."""
        return np.frombuffer(self._temperature, dtype=np.float64)

    def known(self, name: str) -> bool:
        """Whether any row has a value of this scorer or oracle."""
        return bool(np.isfinite(self.values(name)).any())

    def values(self, name: str) -> Floats:
        """Scores or judgements (rows,), NaN where there is none."""
        return np.frombuffer(self._values[name], dtype=np.float64)

    @property
    def length(self) -> Floats | None:
        """log(1 + tokens) of each response, or log(1 + characters) where a row has no tokens; None without texts."""
        tokens = np.frombuffer(self._tokens, dtype=np.float64)
        if np.isfinite(tokens).all():
            return tokens
        return np.frombuffer(self._characters, dtype=np.float64) if self._has_responses else None

    @property
    def truncated(self) -> Floats:
        """1 where a response was cut at the token limit, else 0; NaN where that is not recorded."""
        return np.frombuffer(self._truncated, dtype=np.float64)

    @property
    def texts(self) -> dict[str, Floats]:
        """Measures of the texts by name; none where there are no texts."""
        if not self._has_responses:
            return {}
        return {name: np.frombuffer(values, dtype=np.float64) for name, values in self._texts.items()}

    def _add_text(self, row: JudgedRow) -> None:
        self._tokens.append(np.nan if row.tokens is None else math.log1p(row.tokens))
        self._truncated.append(np.nan if row.finish_reason is None else float(row.finish_reason == "length"))
        facts = row.control_facts()
        self._characters.append(np.nan if facts is None else math.log1p(len(facts.response)))
        measured = {} if facts is None else measure_text(facts.prompt, facts.response)
        for name, values in self._texts.items():
            values.append(_number(measured.get(name)))

    def _add(self, line: int, row: JudgedRow) -> None:
        self._add_text(row)
        self.untold |= row.prompt is None
        if row.prompt_id not in self._prompts:
            mark = mark_of(row.prompt, row.prompt_id)
            self._prompts[row.prompt_id] = self._marks.setdefault(mark, len(self._marks))
        self._prompt.append(self._prompts[row.prompt_id])
        self._temperature.append(_number(row.temperature))
        if self._cluster_name is not None:
            if self._cluster_name not in row.clusters:
                there = ", ".join(row.clusters) or "none"
                raise InvalidInput(f"line {line}: no cluster {self._cluster_name!r}; there are: {there}")
            self._group.append(self._groups.setdefault(row.clusters[self._cluster_name], len(self._groups)))
        if twice := row.oracles.keys() & row.scores.keys():
            raise InvalidInput(f"line {line}: {min(twice)!r} is both a score and a judgement; rename one")
        recorded = {**row.oracles, **row.scores}
        self._recorded.update(dict.fromkeys(recorded))
        facts = row.control_facts()
        self._has_responses |= facts is not None
        for name, values in self._values.items():
            if name.startswith(RECORDED):
                values.append(_number(recorded.get(name.removeprefix(RECORDED))))
            elif name in CONTROLS:
                values.append(_number(None if facts is None else CONTROLS[name](facts)))

    def _add_registered(self, chunk: Sequence[tuple[int, JudgedRow]]) -> None:
        if not self._registered or self._score is None:
            return
        for line, row in chunk:
            if row.prompt is None or row.response is None:
                raise InvalidInput(
                    f"line {line}: {self._registered[0]} scores texts, so prompt and response are needed"
                )
        pairs = [
            Pair(row.prompt, row.response) for _, row in chunk if row.prompt is not None and row.response is not None
        ]
        for name, scores in self._score(self._registered, pairs).items():
            for (line, _), score in zip(chunk, scores, strict=True):
                if isinstance(score, AssayError):
                    count, first = self.errors.get(name, (0, f"line {line}: {score.detail}"))
                    self.errors[name] = count + 1, first
                    self._values[name].append(np.nan)
                else:
                    self._values[name].append(score)

    def _check(self) -> None:
        if not self.n_rows:
            raise InvalidInput("the file has no rows; give at least one judged response")
        for name in self._names:
            column = name.removeprefix(RECORDED)
            if name.startswith(RECORDED) and column not in self._recorded:
                there = ", ".join(sorted(self._recorded)) or "none"
                raise InvalidInput(f"{name}: no row has a score or judgement {column!r}; there are: {there}")
            if name in CONTROLS and not self._has_responses:
                raise InvalidInput(f"{name}: no row has a response to look at; use {RECORDED}NAME for recorded scores")


def _number(value: float | None) -> float:
    known = finite(value)
    return np.nan if known is None else known

"""Verifiable instructions: IFEval (Zhou et al. 2023, arXiv 2311.07911) by the checker of lm-evaluation-harness."""

import io
import random
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import Field

from evaluation.engine.scoring import ScoringEngine
from evaluation.oracles.oracle import Asked, Oracle
from evaluation.scorers.scorer import Column, Judgement, Scorer, StoredResponse, missing
from trainer.data.text import as_text
from trainer.errors import InvalidInput

Measure = Literal["prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose"]

_SPLITS_SENTENCES = frozenset({"length_constraints:number_sentences", "change_case:capital_word_frequency"})
"""Instructions whose check reads NLTK's data."""
_GARBAGE_CHARACTERS = 400
_GARBAGE_RESPONSES = 1000
"""At least so many over all prompts: the floor's standard error is below 0.016."""


class IFEvalOracle(Oracle):
    """Whether a response follows the instructions that can be checked without a judge.

    Prompts carry ``instruction_id_list`` and ``kwargs`` as the rows of google/IFEval do.
    """

    kind: Literal["ifeval"] = "ifeval"
    measures: tuple[Measure, ...] = Field(
        ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose"), min_length=1
    )
    """``prompt``: 1 if every instruction is followed, else 0; ``instruction``: the share that is. ``loose`` forgives
    asterisks and a first or last line that does not belong. The first is what verdicts are about."""

    def open(
        self, engine: ScoringEngine, prompts: Sequence[Asked], pinned: dict[str, str], directory: Path
    ) -> "_Checker":
        wanted = {asked.prompt_id: _instructions(asked) for asked in prompts}
        checker = _load_checker(any(_SPLITS_SENTENCES & {*each.instruction_id_list} for each in wanted.values()))
        for prompt_id, each in wanted.items():
            _try_out(checker, prompt_id, each)
        return _Checker(checker, wanted, tuple(dict.fromkeys(self.measures)))


@dataclass(frozen=True)
class _Instructions:
    """What the checker calls an input, under the names it reads."""

    prompt: str
    instruction_id_list: list[str]
    kwargs: list[dict[str, Any]]


class _Checker(Scorer):
    def __init__(self, checker: ModuleType, wanted: dict[str, _Instructions], measures: tuple[Measure, ...]) -> None:
        self._checker = checker
        self._wanted = wanted
        floors = self._floors(measures)
        self._columns = tuple(Column(f"ifeval:{each}", None, "oracle", floors[each]) for each in measures)
        self._measures = measures

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._columns

    @property
    def remarks(self) -> tuple[str, ...]:
        floors = ", ".join(f"{column.floor:.3f} {column.scorer}" for column in self._columns)
        return (f"random characters reach {floors}: read the means corrected for that floor",)

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        return [self._judge(each) for each in responses]

    def _judge(self, stored: StoredResponse) -> tuple[Judgement, ...]:
        try:
            found = self._follows(self._wanted[stored.cell.prompt_id], stored.response)
        except Exception as error:  # the checker's own: no response may fail another
            return tuple(missing("checker_failed", repr(error)[:200]) for _ in self._columns)
        return tuple(Judgement(found[each]) for each in self._measures)

    def _follows(self, wanted: _Instructions, response: str) -> dict[Measure, float]:
        with _repeatable():
            strict: list[bool] = self._checker.test_instruction_following_strict(
                wanted, response
            ).follow_instruction_list
            loose: list[bool] = self._checker.test_instruction_following_loose(wanted, response).follow_instruction_list
        return {
            "prompt_strict": float(all(strict)),
            "instruction_strict": sum(strict) / len(strict),
            "prompt_loose": float(all(loose)),
            "instruction_loose": sum(loose) / len(loose),
        }

    def _floors(self, measures: Sequence[Measure]) -> dict[Measure, float]:
        """Mean of each measure over responses of random printable characters, equally many to each prompt."""
        rng = random.Random(0)
        each = -(-_GARBAGE_RESPONSES // len(self._wanted))
        sums = dict.fromkeys(measures, 0.0)
        for wanted in self._wanted.values():
            for _ in range(each):
                found = self._follows(wanted, "".join(rng.choices(string.printable, k=_GARBAGE_CHARACTERS)))
                for measure in measures:
                    sums[measure] += found[measure]
        return {measure: total / (each * len(self._wanted)) for measure, total in sums.items()}


def _instructions(asked: Asked) -> _Instructions:
    """Raises InvalidInput for a prompt without instructions or with arguments of another number."""
    task = asked.task or {}
    ids, kwargs = task.get("instruction_id_list"), task.get("kwargs")
    if not isinstance(ids, list) or not ids or not isinstance(kwargs, list) or len(ids) != len(kwargs):
        raise InvalidInput(
            f"prompt {asked.prompt_id}: the ifeval oracle needs instruction_id_list and kwargs, one for each"
            " instruction, as rows of google/IFEval have them"
        )
    return _Instructions(as_text(asked.prompt), [str(each) for each in ids], [dict(each or {}) for each in kwargs])


def _load_checker(splits_sentences: bool) -> ModuleType:
    """lm-eval's checker. Raises InvalidInput where it, or what it needs to split sentences, is not installed."""
    try:
        langdetect: Any = import_module("langdetect")
        nltk: Any = import_module("nltk")
    except ImportError as error:
        raise InvalidInput("the ifeval oracle needs lm-eval: pip install 'reward-assay[ifeval]'") from error
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError as error:
        if splits_sentences:
            raise InvalidInput(
                "instructions about sentences and capital words need NLTK's punkt_tab: run `python -m nltk.downloader"
                " punkt_tab`, or without a network put a copy at tokenizers/punkt_tab in a directory that the variable"
                " NLTK_DATA names"
            ) from error
    langdetect.DetectorFactory.seed = 0  # it draws at random which letters it looks at
    with _without_downloads(nltk):
        try:
            return import_module("lm_eval.tasks.ifeval.utils")
        except ImportError as error:
            raise InvalidInput(
                f"lm-eval's checker cannot be loaded ({error}): pip install 'reward-assay[ifeval]'"
            ) from error


@contextmanager
def _without_downloads(nltk: ModuleType) -> Iterator[None]:
    """Importing the checker would fetch what is missing, or wait for a network that is not there, and say it had."""
    download = vars(nltk)["download"]
    vars(nltk)["download"] = lambda *_, **__: False
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        vars(nltk)["download"] = download


def _try_out(checker: ModuleType, prompt_id: str, wanted: _Instructions) -> None:
    """Raises InvalidInput for instructions that the checker does not know, or arguments it does not take."""
    known = checker.instructions_registry.INSTRUCTION_DICT
    for instruction in wanted.instruction_id_list:
        if instruction not in known:
            raise InvalidInput(f"prompt {prompt_id}: no instruction {instruction!r} in lm-eval's IFEval")
    try:
        with _repeatable():
            checker.test_instruction_following_strict(wanted, "response")
    except Exception as error:
        raise InvalidInput(f"prompt {prompt_id}: its kwargs do not fit its instructions ({error!r})") from error


@contextmanager
def _repeatable() -> Iterator[None]:
    """Within, arguments that a row leaves out are drawn alike each time; the caller's random numbers go on after it."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)

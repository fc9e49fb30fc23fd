"""Battles: two models answer one instruction, and somebody says which answer is better.

Read from AlpacaEval's annotations, from judged responses to one unseen baseline, or made of two models' outputs and an
oracle's scores. Everything is joined by the instruction itself: files differ in what they hold and in which order.
"""

import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import InvalidInput
from trainer.files import read_jsonl

UNSEEN = "baseline"
"""What the opponent is called where only judgements of battles against it are recorded, not its outputs."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Battle:
    """One model's output against the baseline's, on one instruction."""

    instruction: str
    model: str
    baseline: str
    preference: float | None
    """How far the judge prefers the model, 0 to 1, a tie being 1/2; None where it could not be read."""

    length: int
    """Characters of the model's output."""

    baseline_length: int | None
    """Characters of the baseline's; None where it is not recorded."""


@dataclass(frozen=True)
class Output:
    """What one model answered."""

    instruction: str
    model: str
    output: str
    score: float | None = None
    """Recorded judgement, where the file has one."""


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """``(where, row)`` of a JSON list or of JSON lines, ``.gz`` or plain. Raises InvalidInput naming what is wrong."""
    if not path.is_file():
        raise InvalidInput(f"no such file: {path}")
    if ".jsonl" in path.suffixes:
        return [(f"{path}, line {line}", row) for line, row in read_jsonl(path)]
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = json.loads(file.read().decode("utf-8"))
    except (EOFError, OSError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path}: cannot be read as UTF-8 JSON ({error})") from error
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}: not JSON ({error}); lines of JSON are read from a .jsonl file") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise InvalidInput(f"{path}: expected a list of objects")
    return [(f"{path}, entry {index}", row) for index, row in enumerate(content)]


def is_annotated(row: Row) -> bool:
    """Whether a row is a judged battle, rather than one model's output."""
    return "preference" in row


def read_battle(where: str, row: Row) -> Battle:
    """A row of AlpacaEval's annotations: output 1 is the baseline's, a preference of 2 that output 2 is better."""
    return Battle(
        instruction=_text(where, row, "instruction"),
        model=_text(where, row, "generator_2"),
        baseline=_text(where, row, "generator_1"),
        preference=_preference(where, row["preference"]),
        length=len(_text(where, row, "output_2")),
        baseline_length=len(_text(where, row, "output_1")),
    )


def read_output(where: str, row: Row) -> Output:
    """A row of AlpacaEval's model outputs, or of judged responses (docs/statistics.md) with their ``oracle_score``."""
    if "output" in row:
        instruction, generator, text = (_text(where, row, name) for name in ("instruction", "generator", "output"))
        return Output(instruction, generator, text)
    if "oracle_score" not in row:
        raise InvalidInput(
            f"{where}: neither an annotation (instruction, output_1, output_2, generator_1, generator_2, preference) "
            "nor an output (instruction, output, generator)"
        )
    instruction, generator, text = (_text(where, row, name) for name in ("prompt", "generator", "response"))
    return Output(instruction, generator, text, _number(where, "oracle_score", row["oracle_score"]))


def recorded_battles(outputs: Sequence[Output]) -> list[Battle]:
    """Outputs whose recorded score is the probability that a judge prefers them to one unseen baseline."""
    for each in outputs:
        if each.score is not None and not 0 <= each.score <= 1:
            raise InvalidInput(
                f"{each.model}: oracle_score {each.score:g} is no probability of winning; name a model of the file to "
                "compare scores with as the baseline"
            )
    return [Battle(each.instruction, each.model, UNSEEN, each.score, len(each.output), None) for each in outputs]


def fight(outputs: Sequence[Output], scores: Sequence[float | None], baseline: str) -> list[Battle]:
    """Every other model against ``baseline`` where both answered: the higher score wins, equal scores tie.

    Raises InvalidInput where the baseline, or an opponent on a common instruction, is missing.
    """
    theirs: dict[str, tuple[Output, float | None]] = {}
    for output, score in zip(outputs, scores, strict=True):
        if output.model == baseline:
            # asked twice, it answers once: the first answer stands
            theirs.setdefault(output.instruction, (output, score))
    battles = []
    for output, score in zip(outputs, scores, strict=True):
        if output.model != baseline and output.instruction in theirs:
            other, rival = theirs[output.instruction]
            preference = None if score is None or rival is None else (1 + _sign(score - rival)) / 2
            lengths = len(output.output), len(other.output)
            battles.append(Battle(output.instruction, output.model, baseline, preference, *lengths))
    if not battles:
        models = ", ".join(dict.fromkeys(each.model for each in outputs))
        raise InvalidInput(f"nobody else answered an instruction that {baseline!r} answered; there are: {models}")
    return battles


def one_baseline(battles: Iterable[Battle]) -> str:
    """The one opponent of all. Raises InvalidInput where there are several, whose win rates cannot be compared."""
    baselines = list(dict.fromkeys(each.baseline for each in battles))
    if len(baselines) > 1:
        raise InvalidInput(
            f"the annotations are of battles against {', '.join(baselines)}; compare models against one baseline"
        )
    return baselines[0]


def read_difficulty(path: Path) -> dict[str, float]:
    """Instruction difficulties from rows ``{"instruction", "instruction_difficulty"}``."""
    found: dict[str, float] = {}
    for where, row in read_rows(path):
        number = _number(where, "instruction_difficulty", row.get("instruction_difficulty"))
        if number is None:
            raise InvalidInput(f"{where}: instruction_difficulty is missing")
        found[_text(where, row, "instruction")] = number
    return found


def look_up(instructions: Sequence[str], difficulty: Mapping[str, float], path: str) -> list[float]:
    """Each instruction's difficulty. Raises InvalidInput naming one that the file does not have."""
    absent = [each for each in instructions if each not in difficulty]
    if absent:
        raise InvalidInput(
            f"{path} has no difficulty for {len(absent)} of {len(instructions)} instructions, "
            f"such as {absent[0][:80]!r}"
        )
    return [difficulty[each] for each in instructions]


def _text(where: str, row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"{where}, field {name!r}: {'missing' if value is None else 'expected text'}")
    return value


def _number(where: str, name: str, value: object) -> float | None:
    """A finite number or None; NaN is what other programs write for what they do not know."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{where}, field {name!r}: expected a number")
    return float(value) if math.isfinite(value) else None


def _preference(where: str, value: object) -> float | None:
    """From AlpacaEval's scale, 1 to 2 with 0 another way to say tie, to 0 to 1."""
    number = _number(where, "preference", value)
    if number is None:
        return None
    if number == 0:
        return 0.5
    if not 1 <= number <= 2:
        raise InvalidInput(f"{where}, field 'preference': {number:g} is not between 1 (output 1 is better) and 2")
    return number - 1


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)

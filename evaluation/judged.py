"""Judged responses: rows of a prompt, a response, scores somebody already has, and an oracle's judgements.

A JSONL file, ``.gz`` or plain, of the form in docs/statistics.md; AlpacaEval's annotations are recognised by their
fields and read as the same rows.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from evaluation.scorers.controls import Response
from trainer.data.text import Prompt, as_messages, as_text
from trainer.errors import InvalidInput
from trainer.files import read_jsonl

Number = Annotated[float, Strict()]
"""An integer or a float, not text that looks like one. NaN and infinities are missing values; see ``finite``."""


def _identity(value: Any) -> str:  # noqa: ANN401 - any JSON may stand there
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a string or an integer")
    return str(value)


def _prompt(value: Any) -> Any:  # noqa: ANN401 - any JSON may stand there
    well_formed = isinstance(value, str) or (isinstance(value, list) and all(isinstance(turn, dict) for turn in value))
    if value is not None and not well_formed:
        raise ValueError("expected a string or a list of {role, content}")
    try:
        return value if value is None else as_messages(value) and value
    except (InvalidInput, AttributeError) as error:
        raise ValueError("the prompt is empty, or a message is not {role, content}") from error


Identity = Annotated[str, BeforeValidator(_identity)]
"""Of a prompt or a cluster. 1 and "1" are equal."""

CheckedPrompt = Annotated[Prompt | None, BeforeValidator(_prompt)]


class _Row(BaseModel):
    """Unlike a recipe's, a row's numbers may be NaN, which other programs write for what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JudgedRow(_Row):
    """One response with its scores and judgements."""

    prompt_id: Identity
    """Responses with equal ids answer the same prompt, and so do those whose prompts are equal."""

    prompt: CheckedPrompt = None
    response: str | None = None
    clusters: dict[str, Identity] = {}
    """What else responses have in common, such as ``{"policy": ...}``."""

    temperature: Number | None = Field(None, ge=0, allow_inf_nan=False)
    tokens: int | None = Field(None, ge=0)
    mean_logprob: Number | None = None
    finish_reason: Literal["stop", "length"] | None = None
    scores: dict[str, Number | None] = {}
    oracles: dict[str, Number | None]

    def control_facts(self) -> Response | None:
        """What trivial controls look at; None where no response is recorded."""
        if self.response is None:
            return None
        prompt = as_text(self.prompt) if self.prompt else ""
        return Response(prompt, self.response, self.tokens, finite(self.mean_logprob), self.finish_reason)


class AlpacaEvalRow(_Row):
    """A line of AlpacaEval's annotations: one system's output and how likely the judge prefers it to the baseline."""

    prompt_id: Identity
    prompt: CheckedPrompt
    source: str | None = None
    generator: str
    response: str
    oracle_score: Number | None

    def judged(self) -> JudgedRow:
        """The same as a judged response; the judge's preference is the oracle ``judge``."""
        clusters = {"policy": self.generator} | ({"source": self.source} if self.source is not None else {})
        return JudgedRow(
            prompt_id=self.prompt_id,
            prompt=self.prompt,
            response=self.response,
            clusters=clusters,
            oracles={"judge": self.oracle_score},
        )


def finite(value: float | None) -> float | None:
    """``value``, or None where it is NaN or infinite: missing either way."""
    return value if value is not None and math.isfinite(value) else None


def read_judged(
    path: Path, limit: int | None = None, *, say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[int, JudgedRow]]:
    """Yield ``(line number from 1, row)``. ``say`` is told where a foreign format was recognised.

    Raises InvalidInput naming the line and the field that is wrong.
    """
    read: Callable[[dict[str, Any]], JudgedRow] | None = None
    for line, content in read_jsonl(path, limit):
        if read is None:
            read = JudgedRow.model_validate
            if {"generator", "oracle_score"} <= content.keys():
                read = _read_alpaca_eval
                say(f"{path} is in AlpacaEval's format: its generator is cluster 'policy', its oracle_score 'judge'")
        try:
            yield line, read(content)
        except ValidationError as error:
            raise InvalidInput(f"{path}, line {line}, {_complaint(error)}") from error


def _read_alpaca_eval(content: dict[str, Any]) -> JudgedRow:
    return AlpacaEvalRow.model_validate(content).judged()


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if first["type"] == "extra_forbidden":
        message = "unknown field; remove it or check its spelling"
    elif first["type"] == "missing":
        message = "missing"
    return f"field {field!r}: {message}"

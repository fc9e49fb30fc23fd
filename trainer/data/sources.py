"""Where training rows come from: a JSONL file or the product-description world. One more source, one more class."""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from trainer.data.product_world import (
    LEVELS,
    Example,
    Split,
    perturb_prompt,
    perturb_response,
    render_prompt,
    sample_examples,
)
from trainer.data.rows import Pair, Preference, digest_rows
from trainer.data.text import Prompt, as_messages, check_response
from trainer.errors import InvalidInput
from trainer.files import read_jsonl
from trainer.recipe import Model


class DataSource(Model, ABC):
    """Rows for training and, apart from them, rows held out."""

    max_prompt_tokens: int = Field(1800, ge=1)
    max_response_tokens: int = Field(248, ge=1)

    @abstractmethod
    def pairs(self, *, held_out: bool = False) -> list[Pair]:
        """Prompt-response pairs to imitate. Raises InvalidInput naming file, line and field."""

    @abstractmethod
    def preferences(self, *, held_out: bool = False) -> list[Preference]:
        """Preferences. Raises InvalidInput naming file, line and field."""


class FileData(DataSource):
    """A JSONL file, ``.gz`` or plain, with rows ``{prompt, response}`` or ``{prompt, chosen, rejected}``
    or, for preferential prompts, ``{prompt, perturbed_prompt, response}``."""

    kind: Literal["file"] = "file"
    path: str
    split: Literal["train"] = "train"
    """A file is one split; what is held out is another file."""
    validation: str | None = None
    """A second file of held-out rows; without it nothing is measured on held-out data."""
    limit: int | None = Field(None, ge=1)

    def pairs(self, *, held_out: bool = False) -> list[Pair]:
        return [Pair(row.prompt("prompt"), row.text("response")) for row in self._rows(held_out)]

    def preferences(self, *, held_out: bool = False) -> list[Preference]:
        return [_preference(row) for row in self._rows(held_out)]

    def _rows(self, held_out: bool) -> list["_Row"]:
        path = self.validation if held_out else self.path
        if path is None:
            return []
        rows = [_Row(path, number, content) for number, content in read_jsonl(Path(path), self.limit)]
        if not rows:
            raise InvalidInput(f"{path} has no rows")
        return rows


class ProductWorldData(DataSource):
    """Rows of the product-description world; see ``trainer.data.product_world``."""

    kind: Literal["product_world"]
    split: Split = "train"
    size: int = Field(6000, ge=1)
    validation_size: int = Field(400, ge=1)
    seed: int = Field(0, ge=0)
    levels: tuple[Annotated[int, Field(ge=1, le=len(LEVELS))], ...] = tuple(LEVELS)
    contrast: Literal["response", "prompt", "both"] = "response"
    """What a preference contrasts: two responses to one prompt, or (GAPO) two prompts for one response."""

    def pairs(self, *, held_out: bool = False) -> list[Pair]:
        return [Pair(render_prompt(example.task), example.response) for example in self._examples(held_out)]

    def preferences(self, *, held_out: bool = False) -> list[Preference]:
        return [self._contrast(index, example) for index, example in enumerate(self._examples(held_out))]

    def _examples(self, held_out: bool) -> list[Example]:
        split: Split = "validation" if held_out else self.split
        return sample_examples(split, self.validation_size if held_out else self.size, self.seed, self.levels)

    def _contrast(self, index: int, example: Example) -> Preference:
        rng = random.Random(f"contrast/{self.seed}/{index}/{example.response}")
        chosen = Pair(render_prompt(example.task), example.response)
        if self.contrast == "prompt" or (self.contrast == "both" and rng.random() < 0.5):
            kind, task = perturb_prompt(rng, example)
            return Preference(chosen, Pair(render_prompt(task), example.response), kind)
        kind, response = perturb_response(rng, example)
        return Preference(chosen, Pair(chosen.prompt, response), kind)


def _source_kind(content: Any) -> str:  # noqa: ANN401 - pydantic passes whatever was sent
    if isinstance(content, dict):
        return str(content.get("kind", "file"))
    return str(getattr(content, "kind", "file"))


AnySource = Annotated[
    Annotated[FileData, Tag("file")] | Annotated[ProductWorldData, Tag("product_world")], Discriminator(_source_kind)
]


__all__ = ["AnySource", "DataSource", "FileData", "Pair", "Preference", "ProductWorldData", "digest_rows"]


@dataclass(frozen=True)
class _Row:
    path: str
    line: int
    content: dict[str, Any]

    def text(self, field: str) -> str:
        value = self.content.get(field)
        if not isinstance(value, str):
            raise self._error(field, "expected a string" if field in self.content else "missing")
        try:
            return check_response(value)
        except InvalidInput as error:
            raise self._error(field, error.detail) from error

    def prompt(self, field: str) -> Prompt:
        value = self.content.get(field)
        if not isinstance(value, str) and not (isinstance(value, list) and all(map(_is_message, value))):
            expected = "expected a string or a list of {role, content}"
            raise self._error(field, expected if field in self.content else "missing")
        try:
            as_messages(value)
        except InvalidInput as error:
            raise self._error(field, error.detail) from error
        return value

    def _error(self, field: str, problem: str) -> InvalidInput:
        return InvalidInput(f"{self.path}, line {self.line}, field {field!r}: {problem}")


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"role", "content"} and set(map(type, value.values())) == {str}


def _preference(row: _Row) -> Preference:
    prompt = row.prompt("prompt")
    if "perturbed_prompt" in row.content:
        response = row.text("response")
        return Preference(Pair(prompt, response), Pair(row.prompt("perturbed_prompt"), response), "perturbed_prompt")
    return Preference(Pair(prompt, row.text("chosen")), Pair(prompt, row.text("rejected")))

"""Where training rows come from: a table of them or the product-description world. One more source, one more class."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, Tag, model_validator

from trainer.data.product_world import (
    LEVELS,
    WORLDS,
    Example,
    Split,
    WorldName,
    perturb_prompt,
    perturb_response,
    render_prompt,
    sample_examples,
)
from trainer.data.rows import Pair, Preference
from trainer.data.schemas import read_pair, read_preference, read_prompt
from trainer.data.tables import Row, Table
from trainer.data.text import Prompt
from trainer.errors import InvalidInput
from trainer.outside import RowsPath, SplitOrFile
from trainer.recipe import Model, by_kind

Content = TypeVar("Content")


@dataclass(frozen=True)
class Skipped:
    """Rows left out because they cannot be used; as a string one line for whoever watches."""

    count: int
    of: int
    place: str
    first: InvalidInput

    def __str__(self) -> str:
        return f"skipped {self.count} of {self.of} rows of {self.place}; the first: {self.first}"


Report = Callable[[Skipped], None]


def _keep_quiet(_: Skipped) -> None:
    return None


class DataSource(Model, ABC):
    """Rows for training and, apart from them, rows held out."""

    max_prompt_tokens: int = Field(1800, ge=1)
    """Of a longer prompt the oldest tokens are dropped; how many texts that met is reported."""
    max_response_tokens: int = Field(248, ge=1)
    """A row with a longer response is left out, never cut: its end is what the policy learns to stop at. Counted."""
    max_tokens: int | None = Field(None, ge=2)
    """Of prompt and response together: where they are more, the prompt gives way. null: the limits above suffice."""
    verify: Literal["product_world"] | None = None
    """Have this checker count the rows to train on that it disagrees with: responses, chosen ones of preferences, that
    violate their prompt, and rejected ones that do not."""

    @property
    def longest(self) -> tuple[int, int]:
        """The most tokens that a response, and that prompt and response together, can have."""
        both = self.max_prompt_tokens + self.max_response_tokens
        total = min(both, self.max_tokens or both)
        return min(self.max_response_tokens, total - 1), total

    @abstractmethod
    def pairs(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Pair]:
        """Prompt-response pairs to imitate. Raises InvalidInput naming file, line and field."""

    @abstractmethod
    def prompts(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Prompt]:
        """Prompts to be answered. Raises InvalidInput naming file, line and field."""

    @abstractmethod
    def preferences(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Preference]:
        """Preferences. Raises InvalidInput naming file, line and field."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the rows are, in words for a message."""


class FileData(DataSource):
    """Rows in a file, a saved directory or on the Hugging Face hub, in any of the layouts of ``data.schemas``."""

    kind: Literal["file"] = "file"
    path: RowsPath
    """A JSONL file, ``.gz`` or plain; a ``.parquet`` or ``.json`` file; a directory written by ``save_to_disk``
    (beginning with ``.``, ``/`` or ``~``); or the id ``owner/name`` of a data set on the Hugging Face hub."""
    split: str = "train"
    """Of a data set with several. A file is one split; what is held out is another file."""
    configuration: str | None = None
    """Of a data set on the hub that has several."""
    validation: SplitOrFile | None = None
    """Held-out rows: a second file, or another split of the same data set. Without it nothing is measured on them."""
    limit: int | None = Field(None, ge=1)
    """Read the first rows only, of training and held-out rows each."""
    streaming: bool = False
    """Fetch a hub's rows one by one, so that with a ``limit`` no more is downloaded than is used. Batches are shuffled
    over all rows, so those used are held in memory either way."""
    on_bad_row: Literal["error", "skip"] = "error"
    """Whether a row that cannot be used ends the run or is left out and counted."""

    @property
    def place(self) -> str:
        return self.path

    def pairs(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Pair]:
        return self._read(read_pair, held_out, report)

    def prompts(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Prompt]:
        return self._read(read_prompt, held_out, report)

    def preferences(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Preference]:
        return self._read(read_preference, held_out, report)

    def _read(self, content_of: Callable[[Row], Content], held_out: bool, report: Report) -> list[Content]:
        table = self._table(held_out)
        if table is None:
            return []
        kept: list[Content] = []
        skipped: list[InvalidInput] = []
        for row in table.rows(self.limit):
            try:
                if isinstance(row, InvalidInput):
                    raise row
                kept.append(content_of(row))
            except InvalidInput as error:
                if self.on_bad_row == "error":
                    raise InvalidInput(f"{error}; mend the row, or set data.on_bad_row to skip") from error
                skipped.append(error)
        if skipped and not kept:
            raise InvalidInput(f"none of the {len(skipped)} rows of {table.path} can be used; the first: {skipped[0]}")
        if not kept:
            raise InvalidInput(f"{table.path} has no rows")
        if skipped:
            report(Skipped(len(skipped), len(kept) + len(skipped), table.path, skipped[0]))
        return kept

    def _table(self, held_out: bool) -> Table | None:
        training = Table(self.path, self.split, self.configuration, self.streaming)
        if not held_out:
            return training
        if self.validation is None:
            return None
        if training.holds_splits and not Path(self.validation).suffix and "/" not in self.validation:
            return Table(self.path, self.validation, self.configuration, self.streaming)
        return Table(self.validation, "train", self.configuration, self.streaming)


class ProductWorldData(DataSource):
    """Rows of the product-description world; see ``trainer.data.product_world``."""

    kind: Literal["product_world"]
    world: WorldName = "small"
    """``large``: 24 nouns, 16 properties of 16 values, up to 12 facts in a prompt, for larger policies."""
    split: Split = "train"
    size: int = Field(6000, ge=1, le=10_000_000)
    validation_size: int = Field(400, ge=1, le=10_000_000)
    seed: int = Field(0, ge=0)
    levels: tuple[Annotated[int, Field(ge=1)], ...] = Field(tuple(LEVELS), min_length=1)
    """Kinds of task: 1 to 5, and 6 to 8 of the large world."""
    contrast: Literal["response", "prompt", "both"] = "response"
    """What a preference contrasts: two responses to one prompt, or (GAPO) two prompts for one response."""

    @model_validator(mode="after")
    def _levels_of_the_world(self) -> Self:
        known = WORLDS[self.world].levels
        if unknown := set(self.levels) - set(known):
            raise ValueError(f"the {self.world} world has no level {min(unknown)}; it has 1 to {len(known)}")
        return self

    @property
    def place(self) -> str:
        return "the product-description world"

    def pairs(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Pair]:
        return [Pair(render_prompt(example.task), example.response) for example in self._examples(held_out)]

    def prompts(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Prompt]:
        return [pair.prompt for pair in self.pairs(held_out=held_out)]

    def preferences(self, *, held_out: bool = False, report: Report = _keep_quiet) -> list[Preference]:
        return [self._contrast(index, example) for index, example in enumerate(self._examples(held_out))]

    def _examples(self, held_out: bool) -> list[Example]:
        split: Split = "validation" if held_out else self.split
        size = self.validation_size if held_out else self.size
        return sample_examples(split, size, self.seed, self.levels, world=WORLDS[self.world])

    def _contrast(self, index: int, example: Example) -> Preference:
        rng = random.Random(f"contrast/{self.seed}/{index}/{example.response}")
        chosen = Pair(render_prompt(example.task), example.response)
        if self.contrast == "prompt" or (self.contrast == "both" and rng.random() < 0.5):
            kind, task = perturb_prompt(rng, example)
            return Preference(chosen, Pair(render_prompt(task), example.response), kind)
        kind, response = perturb_response(rng, example)
        return Preference(chosen, Pair(chosen.prompt, response), kind)


AnySource = Annotated[
    Annotated[FileData, Tag("file")] | Annotated[ProductWorldData, Tag("product_world")], by_kind("file")
]

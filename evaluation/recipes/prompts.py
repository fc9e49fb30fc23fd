"""The prompts of a stress test: from a file, or from the product-description world."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Tag, TypeAdapter, ValidationError

from evaluation.oracles.oracle import Asked
from trainer.data.product_world import WORLDS, Split, WorldName, render_prompt, sample_tasks
from trainer.data.text import Prompt, as_messages
from trainer.errors import InvalidInput
from trainer.files import read_jsonl, write_atomically
from trainer.outside import LocalPath
from trainer.recipe import Model, by_kind

_PROMPT: TypeAdapter[Prompt] = TypeAdapter(Prompt)


class Prompts(Model, ABC):
    """Where prompts come from."""

    @abstractmethod
    def read(self) -> list[Asked]:
        """At least one prompt. Raises InvalidInput naming file, line and problem."""


class FilePrompts(Prompts):
    """A JSONL file, ``.gz`` or plain, with rows ``{"prompt": text or messages, "prompt_id"?, "task"?}``.

    Without a ``prompt_id`` a prompt is called by its place in the file, from 0. Rows of IFEval, ``{"key", "prompt",
    "instruction_id_list", "kwargs"}``, are read as they are. Other fields are left alone.
    """

    kind: Literal["file"] = "file"
    path: LocalPath
    limit: int | None = Field(None, ge=1)

    def read(self) -> list[Asked]:
        found: dict[str, Asked] = {}
        for line, row in read_jsonl(Path(self.path), self.limit):
            try:
                asked = _asked(row, str(len(found)))
            except (InvalidInput, ValidationError) as error:
                reason = (
                    error.detail if isinstance(error, InvalidInput) else "expected text or {role, content} messages"
                )
                raise InvalidInput(f"{self.path}, line {line}, prompt: {reason}") from error
            if asked.prompt_id in found:
                raise InvalidInput(f"{self.path}, line {line}: prompt_id {asked.prompt_id!r} is there twice")
            found[asked.prompt_id] = asked
        if not found:
            raise InvalidInput(f"{self.path} has no prompts; give at least one row")
        return list(found.values())


class ProductWorldPrompts(Prompts):
    """Tasks of the product-description world, of all its levels, which the ``product_world`` oracle judges exactly."""

    kind: Literal["product_world"]
    world: WorldName = "small"
    split: Split = "test"
    limit: int = Field(64, ge=1)
    seed: int = Field(0, ge=0)

    def read(self) -> list[Asked]:
        world = WORLDS[self.world]
        tasks = sample_tasks(self.split, self.limit, self.seed, tuple(world.levels), world)
        return [Asked(str(i), render_prompt(task), task.to_json()) for i, task in enumerate(tasks)]


AnyPrompts = Annotated[
    Annotated[FilePrompts, Tag("file")] | Annotated[ProductWorldPrompts, Tag("product_world")], by_kind("file")
]


def settle_prompts(source: Prompts, path: Path) -> list[Asked]:
    """Read the prompts and write them to ``path``; a run that continues reads them from there instead."""
    if not path.exists():
        prompts = source.read()
        rows = [{"prompt_id": each.prompt_id, "prompt": each.prompt, "task": each.task} for each in prompts]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
    return [Asked(row["prompt_id"], row["prompt"], row["task"]) for _, row in read_jsonl(path)]


def _asked(row: dict[str, Any], default_id: str) -> Asked:
    prompt = _PROMPT.validate_python(row.get("prompt"))
    as_messages(prompt)
    prompt_id, task = row.get("prompt_id", default_id), row.get("task")
    if task is None and "instruction_id_list" in row:
        prompt_id = row.get("prompt_id", row.get("key", default_id))
        task = {name: row.get(name) for name in ("instruction_id_list", "kwargs")}
    if not isinstance(prompt_id, str | int):
        raise InvalidInput("prompt_id must be text or a whole number")
    if task is not None and not isinstance(task, dict):
        raise InvalidInput("task must be an object")
    return Asked(str(prompt_id), prompt, task)

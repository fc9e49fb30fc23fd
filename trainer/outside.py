"""What a recipe's texts name outside the recipe itself: files, models, servers.

A server that takes recipes from others must know which of their fields reach out, and where to. A field says so in its
type; without one it is words or numbers and nothing is opened by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel

Place = Literal["file", "source", "split", "model", "scorer", "server", "task"]


@dataclass(frozen=True)
class Outside:
    """Marks a text that names something outside the recipe."""

    place: Place


LocalPath = Annotated[str, Outside("file")]
"""A file or directory of the machine the recipe runs on."""

RowsPath = Annotated[str, Outside("source")]
"""A file or directory of rows, or a data set ``owner/name`` on the Hugging Face hub."""

ModelSource = Annotated[str, Outside("source")]
"""A directory, or a model ``owner/name`` on the Hugging Face hub; never an artifact."""

SplitOrFile = Annotated[str, Outside("split")]
"""A split of a data set, or a file."""

ModelPath = Annotated[str, Outside("model")]
"""A registered artifact, a directory, or a model ``owner/name`` on the Hugging Face hub."""

RegisteredScorer = Annotated[str, Outside("scorer")]
"""``NAME[@VERSION][:OUTPUT]`` of an artifact; where the field allows, a trivial control or ``recorded:NAME``."""

ServerUrl = Annotated[str, Outside("server")]
"""An address that requests are sent to."""

TaskName = Annotated[str, Outside("task")]
"""A task by its name, or the file that describes it and may run code."""


def outside(recipe: BaseModel, pointer: str = "") -> Iterator[tuple[str, Place, str]]:
    """Every text of ``recipe`` that names something outside: JSON pointer, kind of place, text."""
    for name, field in type(recipe).model_fields.items():
        place = place_of(field.annotation, field.metadata)
        yield from _within(getattr(recipe, name), place, f"{pointer}/{name}")


def place_of(annotation: Any, metadata: list[Any]) -> Place | None:  # noqa: ANN401 - any type there is
    """What texts of a field of this type name, if anything."""
    for mark in metadata:
        if isinstance(mark, Outside):
            return mark.place
    inner = getattr(annotation, "__metadata__", ())
    found = (place_of(part, []) for part in get_args(annotation) if not isinstance(part, Outside))
    return next((mark.place for mark in inner if isinstance(mark, Outside)), None) or next(filter(None, found), None)


def _within(value: Any, place: Place | None, pointer: str) -> Iterator[tuple[str, Place, str]]:  # noqa: ANN401
    if isinstance(value, BaseModel):
        yield from outside(value, pointer)
    elif isinstance(value, str):
        if place is not None:
            yield pointer, place, value
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            yield from _within(each, place, f"{pointer}/{position}")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _within(each, place, f"{pointer}/{key}")

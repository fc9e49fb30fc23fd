"""A form from a recipe's JSON schema: which inputs there are for what the recipe says already.

The form's state is the recipe itself, as somebody would write it by hand: what equals its default is left out. Every
input is named by the JSON pointer of its field, so that errors find their place; ``form_reading`` goes the way back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from service.dashboard.plain_yaml import tree_or_text, write_yaml
from service.dashboard.schema_nodes import (
    ABSENT,
    SCALARS,
    Schema,
    Schemas,
    chosen,
    members_of,
    name_of,
    nullable,
    own_defaults,
    required_of,
    words_of,
)
from service.wording import exact
from trainer.json_pointer import json_pointer

NONE = "none"
"""How a form writes null."""

SET = "set"
"""What an object that may be null is when it is there, and is one thing only."""

_FIRST, _LAST = ("name", "policy", "backbone", "reward_model", "data"), ("seed", "labels", "launch")
"""Fields of a recipe that say what it is about, and those that are seldom changed."""

_PLACES = {name: place - len(_FIRST) for place, name in enumerate(_FIRST)} | dict.fromkeys(_LAST, 1)

Path = tuple[str | int, ...]
InputKind = Literal["text", "choice", "switch", "lines", "yaml"]


@dataclass(frozen=True)
class Input:
    """One input: a line of text, a choice, a switch, or several lines."""

    pointer: str
    label: str
    help: str
    kind: InputKind
    value: str
    """What stands in it; empty where the default holds."""
    default: str
    """What holds then, shown pale; empty where there is none."""
    required: bool
    numeric: bool = False
    choices: tuple[str, ...] = ()
    suggests: bool = False
    """Whether it may name an artifact."""


@dataclass(frozen=True)
class Group:
    """Fields that belong together: a nested object, or an entry of a list of objects."""

    pointer: str
    label: str
    help: str
    members: "list[Member]"
    opened: bool
    """Whether its fields are shown at once: it says something, or something has to be said."""
    required: bool
    variants: tuple[str, ...] = ()
    """What it can be, where that is a choice; ``variant`` is what it is."""
    variant: str = ""
    entry: bool = False
    """Whether it is one of a list, and can be taken out."""


@dataclass(frozen=True)
class Entries:
    """A list of groups."""

    pointer: str
    label: str
    help: str
    groups: list[Group]
    least: int


Member = Input | Group | Entries


def form_of(schema: Schema, content: Mapping[str, Any]) -> list[Member]:
    """The form for the recipe of ``schema`` that ``content`` begins: what must be said first, groups after fields."""
    made = _members(Schemas(schema), schema, (), content, {})
    return sorted(made, key=lambda member: place_of(member.pointer[1:]))


def place_of(name: str) -> int:
    """By which a recipe's fields are sorted."""
    return _PLACES.get(name, 0)


def pointers(members: list[Member]) -> Iterator[str]:
    """Of everything that an error can be shown at."""
    for member in members:
        yield member.pointer
        if isinstance(member, Group):
            yield from pointers(member.members)
        elif isinstance(member, Entries):
            yield from pointers(list(member.groups))


def input_kind(inner: Schema, item: Schema | None) -> InputKind:
    """How a value that is no object is put in; ``item`` is what it is a list of, if it is one."""
    if words_of(inner):
        return "choice"
    if inner.get("type") == "boolean":
        return "switch"
    if item is not None and item.get("type") == "string" and not words_of(item):
        return "lines"
    if (item or inner).get("type") in SCALARS:
        return "text"
    return "yaml"


def written(kind: InputKind, value: Any) -> str:  # noqa: ANN401 - any JSON
    """A value as its input shows it."""
    if value is ABSENT or value is None:
        return "" if value is ABSENT else NONE
    if kind == "yaml":
        if isinstance(value, str) and tree_or_text(value) == value:
            return value  # its writer wrote no quotes either
        text = write_yaml(value) if value not in ({}, []) else ""
        return text.removesuffix("...\n").strip()
    if isinstance(value, list):
        return ("\n" if kind == "lines" else ", ").join(written("text", each) for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    return exact(value) if isinstance(value, float) else str(value)


def _members(schemas: Schemas, variant: Schema, path: Path, given: Any, default: Any) -> list[Member]:  # noqa: ANN401
    """The fields of an object: ``given`` is what the recipe says of it, ``default`` what holds if it says nothing."""
    own, shown = own_defaults(variant), schemas.defaults(variant, default)
    said = given if isinstance(given, Mapping) else {}
    if given is not ABSENT:  # what is said of a part puts the rest back to its own defaults
        said = {**{name: own[name] for name in own if own[name] not in (shown[name], ABSENT)}, **said}
    made = [
        _member(schemas, node, (*path, name), said.get(name, ABSENT), shown[name], name in required_of(variant))
        for name, node in members_of(variant).items()
    ]
    return sorted(made, key=lambda member: (not getattr(member, "required", True), not isinstance(member, Input)))


def _member(
    schemas: Schemas,
    node: Schema,
    path: Path,
    value: Any,  # noqa: ANN401 - any JSON
    default: Any,  # noqa: ANN401 - any JSON
    required: bool,
) -> Member:
    schema, item = schemas.resolved(node), schemas.item(node)
    label = str(path[-1]).replace("_", " ")
    told = " ".join(str(schema.get("description") or "").split())
    if schemas.variants(node):
        return _group(schemas, schema, path, value, default, required)
    if item is not None and schemas.variants(item):
        least = int(schemas.inner(node).get("minItems", 0))
        found = next((each for each in (value, default) if isinstance(each, list)), [])
        padded = [*found, *[{}] * (least - len(found))]
        groups = [_entry(schemas, item, (*path, place), each) for place, each in enumerate(padded)]
        return Entries(json_pointer(path), label, told, groups, least)
    inner = schemas.inner(node)
    kind = input_kind(inner, item)
    words = tuple(written("text", word) for word in words_of(inner))
    return Input(
        json_pointer(path),
        label,
        told,
        kind,
        value=written(kind, value),
        default=written(kind, default),
        required=required,
        numeric=(item or inner).get("type") in {"number", "integer"},
        choices=(NONE, *words) if words and nullable(schema) else words,
        suggests=path[-1] in {"path", "scorers"},
    )


def _group(
    schemas: Schemas,
    schema: Schema,
    path: Path,
    value: Any,  # noqa: ANN401 - any JSON
    default: Any,  # noqa: ANN401 - any JSON
    required: bool,
) -> Group:
    variants = schemas.variants(schema)
    given = {"kind": value} if isinstance(value, str) else value  # a kind may stand for itself
    there = given if given is not ABSENT else default
    variant = None if there is None or (there is ABSENT and nullable(schema)) else chosen(variants, given, default)
    several = len(variants) > 1
    names = [name_of(each) for each in variants] if several else [SET]
    told = schema.get("description") or ("" if variant is None else variant.get("description"))
    return Group(
        json_pointer(path),
        str(path[-1]).replace("_", " "),
        " ".join(str(told or "").split()),
        [] if variant is None else _members(schemas, variant, path, given, default),
        opened=required or given is not ABSENT,
        required=required,
        variants=(NONE, *names) if nullable(schema) else tuple(names) if several else (),
        variant=NONE if variant is None else name_of(variant) if several else SET,
    )


def _entry(schemas: Schemas, item: Schema, path: Path, value: Any) -> Group:  # noqa: ANN401 - any JSON
    group = _group(schemas, item, path, value, ABSENT, required=True)
    return replace(group, label=f"{path[-2]} {int(path[-1]) + 1}".replace("_", " "), entry=True)

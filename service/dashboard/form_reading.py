"""From a filled-in form to the recipe that it says, as somebody would write it: without what equals a default."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.dashboard.plain_yaml import tree_or_text
from service.dashboard.schema_form import NONE, SET, Group, Input, Member, Path, input_kind, place_of
from service.dashboard.schema_nodes import (
    ABSENT,
    Schema,
    Schemas,
    chosen,
    kind_of,
    members_of,
    name_of,
    nullable,
    own_defaults,
    required_of,
    words_of,
)
from trainer.json_pointer import json_pointer

VARIANT, ENTRY = "variant:", "entry:"
"""Before a pointer: what a group is to be, and that an entry of a list is there."""

Fields = Mapping[str, str]
"""The inputs of a form by name: the JSON pointer of the field, or one of the above before it."""


def read_form(schema: Schema, fields: Fields) -> dict[str, Any]:
    """The recipe of ``schema`` that ``fields`` say. What is not of its field's type stays as it was typed, for the
    recipe's own validation to complain about."""
    found = _members(Schemas(schema), schema, (), fields, {})
    return dict(sorted(found.items(), key=lambda member: place_of(member[0])))


def in_order_of(earlier: Any, value: Any) -> Any:  # noqa: ANN401 - any JSON
    """``value`` with the keys of its mappings in the order that they have in ``earlier``; each new one stays behind the
    key that it follows."""
    if isinstance(earlier, list) and isinstance(value, list):
        return [*map(in_order_of, earlier, value), *value[len(earlier) :]]
    if not isinstance(earlier, Mapping) or not isinstance(value, Mapping):
        return value
    new: dict[Any, list[Any]] = {}
    before = ABSENT
    for name in value:
        if name in earlier:
            before = name
        else:
            new.setdefault(before, []).append(name)
    names = [*new.get(ABSENT, []), *(each for name in earlier if name in value for each in (name, *new.get(name, [])))]
    return {name: in_order_of(earlier.get(name), value[name]) for name in names}


def fields_of(members: Sequence[Member]) -> dict[str, str]:
    """What a browser sends of a form that nobody has touched."""
    fields: dict[str, str] = {}
    for member in members:
        if isinstance(member, Input):
            fields[member.pointer] = _shown(member)
        elif isinstance(member, Group):
            if member.variants:
                fields[f"{VARIANT}{member.pointer}"] = member.variant
            if member.entry:
                fields[f"{ENTRY}{member.pointer}"] = ""
            fields |= fields_of(member.members)
        else:
            fields |= fields_of(member.groups)
    return fields


def _shown(member: Input) -> str:
    """What stands in an input; a choice and a switch have no place for what is none of theirs."""
    text = member.value or member.default
    match member.kind:
        case "switch":
            return "true" if text == "true" else "false"
        case "choice":
            return text if text in ("", *member.choices) else member.choices[0]
        case _:
            return member.value


def places_of(pointer: str, fields: Fields) -> list[int]:
    """Where the list at ``pointer`` has entries, in their order."""
    entry = re.compile(rf"{ENTRY}{re.escape(pointer)}/([0-9]{{1,6}})")
    return sorted(int(found[1]) for name in fields if (found := entry.fullmatch(name)))


def _members(schemas: Schemas, variant: Schema, path: Path, fields: Fields, default: Any) -> dict[str, Any]:  # noqa: ANN401
    shown = schemas.defaults(variant, default)
    found = {
        name: _member(schemas, node, (*path, name), fields, shown[name], name in required_of(variant))
        for name, node in members_of(variant).items()
    }
    return {name: value for name, value in found.items() if value is not ABSENT}


def _member(schemas: Schemas, node: Schema, path: Path, fields: Fields, default: Any, required: bool) -> Any:  # noqa: ANN401
    item = schemas.item(node)
    if schemas.variants(node):
        return _group(schemas, node, path, fields, default, required)
    if item is not None and schemas.variants(item):
        return _entries(schemas, item, path, fields, default)
    text = fields.get(json_pointer(path), "").replace("\r\n", "\n").strip()
    value = _value(schemas.inner(node), item, nullable(schemas.resolved(node)), text)
    return ABSENT if value == default else value


def _value(inner: Schema, item: Schema | None, may_be_null: bool, text: str) -> Any:  # noqa: ANN401 - any JSON
    if not text:
        return ABSENT
    if may_be_null and text in {NONE, "null"}:
        return None
    value: Any
    match input_kind(inner, item):
        case "choice":
            value = next((word for word in words_of(inner) if str(word) == text), text)
        case "switch":
            value = {"true": True, "false": False}.get(text, text)
        case "lines":
            value = [line.strip() for line in text.splitlines() if line.strip()]
        case "yaml":
            value = tree_or_text(text)
        case "text" if item is not None:
            value = [_scalar(item, part.strip()) for part in text.split(",") if part.strip()]
        case "text":
            value = _scalar(inner, text)
    return value


def _scalar(schema: Schema, text: str) -> Any:  # noqa: ANN401 - number or text
    for kind, parse in (("integer", int), ("number", int), ("number", float)):
        if schema.get("type") == kind:
            try:
                return parse(text)
            except ValueError:
                continue
    return text


def _group(schemas: Schemas, node: Schema, path: Path, fields: Fields, default: Any, required: bool) -> Any:  # noqa: ANN401
    """What is said of an object; ABSENT where that is what holds anyway."""
    variants = schemas.variants(node)
    usual = NONE if default is None else "" if default is ABSENT else name_of(chosen(variants, default))
    name = fields.get(f"{VARIANT}{json_pointer(path)}", "")
    if name == NONE:
        return ABSENT if usual in {NONE, ""} else None
    variant = next((each for each in variants if name_of(each) == name), None) or chosen(variants, default)
    held = _members(schemas, variant, path, fields, default)
    if not held and not required and name in {"", SET if usual not in {NONE, ""} else usual, usual}:
        return ABSENT
    own, shown = own_defaults(variant), schemas.defaults(variant, default)
    held = {**{each: shown[each] for each in own if shown[each] not in (own[each], ABSENT)}, **held}
    if len(variants) > 1:
        if (kind := kind_of(variant)) is not ABSENT:
            return {"kind": kind, **held}
        missing = {each: "" for each in required_of(variant) if each not in held}
        return {**missing, **held}  # its fields alone tell what it is
    return held


def _entries(schemas: Schemas, item: Schema, path: Path, fields: Fields, default: Any) -> Any:  # noqa: ANN401
    places = places_of(json_pointer(path), fields)
    found = [_group(schemas, item, (*path, place), fields, ABSENT, required=True) for place in places]
    return ABSENT if found == ([] if default is ABSENT else default) else found

"""The parts of pydantic's JSON schemas, as far as recipes have them: references, unions, defaults, lists, choices."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]

ABSENT: Final[Any] = object()
"""Nothing is said: not even null."""

SCALARS = frozenset({"string", "number", "integer"})


class Schemas:
    """A schema with what its references mean."""

    def __init__(self, schema: Schema) -> None:
        self._definitions: Mapping[str, Schema] = schema.get("$defs", {})

    def resolved(self, node: Schema) -> Schema:
        """Without a reference at its top; what stands beside the reference holds over what it leads to."""
        while "$ref" in node:
            beside = {name: value for name, value in node.items() if name != "$ref"}
            node = {**self._definitions[node["$ref"].rpartition("/")[2]], **beside}
        return node

    def inner(self, node: Schema) -> Schema:
        """The schema of a value that is not null."""
        schema = self.resolved(node)
        options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
        if len(options) == 1:
            return self.resolved(options[0])
        return {**schema, "anyOf": options} if options else schema

    def variants(self, node: Schema) -> list[Schema]:
        """The objects with fields that a value may be; none where it may be something else."""
        inner = self.inner(node)
        options = [self.resolved(option) for option in inner.get("oneOf") or inner.get("anyOf") or [inner]]
        return options if all("properties" in option for option in options) else []

    def item(self, node: Schema) -> Schema | None:
        """What a list is of; None for what is no list."""
        inner = self.inner(node)
        if inner.get("type") != "array":
            return None
        return self.resolved(inner.get("items") or next(iter(inner.get("prefixItems", [])), {}))

    def defaults(self, variant: Schema, default: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
        """What each field holds where a recipe says nothing at all: by the whole's default, else by its own."""
        own = own_defaults(variant)
        if isinstance(default, Mapping) and default.get("kind", ABSENT) in (kind_of(variant), ABSENT):
            own.update(default)
        return own


def nullable(schema: Schema) -> bool:
    """Whether null is a value."""
    return any(option.get("type") == "null" for option in schema.get("anyOf", []))


def members_of(schema: Schema) -> dict[str, Schema]:
    """The fields of an object; its ``kind`` is a matter of the union it is in."""
    return {name: node for name, node in schema.get("properties", {}).items() if name != "kind"}


def own_defaults(variant: Schema) -> dict[str, Any]:
    """What each field holds where the object around it is there and says nothing of it."""
    return {name: node.get("default", ABSENT) for name, node in members_of(variant).items()}


def required_of(variant: Schema) -> set[str]:
    """Fields without a default."""
    return set(variant.get("required", []))


def words_of(inner: Schema) -> list[Any]:
    """The values to choose from; empty where anything may be said."""
    return list(inner.get("enum", [inner["const"]] if "const" in inner else []))


def kind_of(variant: Schema) -> Any:  # noqa: ANN401 - ABSENT or a word
    """The ``kind`` that tells a member of a union from the others; ABSENT where its fields do."""
    kind = variant.get("properties", {}).get("kind", {})
    return kind.get("const", kind.get("default", ABSENT))


def name_of(variant: Schema) -> str:
    """What a member of a union is called."""
    kind = kind_of(variant)
    return str(variant.get("title", "")) if kind is ABSENT else str(kind)


def chosen(variants: Sequence[Schema], *said: Any) -> Schema:  # noqa: ANN401 - any JSON
    """Which of them a value is, by its kind or else its fields; the first value that tells decides."""
    unkinded = [each for each in variants if "kind" not in required_of(each)]
    for value in said:
        if not isinstance(value, Mapping) or not value:
            continue
        if "kind" in value:
            fitting = [each for each in variants if kind_of(each) == value["kind"]]
        else:
            fitting = [each for each in unkinded if value.keys() <= members_of(each).keys()]
        if fitting:
            return fitting[0]
    return (unkinded or list(variants))[0]

"""The API's reference, laid out from its OpenAPI document: the usual viewers load their script from the network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A parameter of a request or a property of a schema."""

    name: str
    type: "list[Word]"
    required: bool
    description: str
    default: str | None


@dataclass(frozen=True)
class Word:
    """Part of a type; ``link`` is the schema it names, if it does."""

    text: str
    link: str | None = None


@dataclass(frozen=True)
class Operation:
    """What one method does at one address."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: list[Word]
    answer: list[Word]

    @property
    def anchor(self) -> str:
        return f"{self.method}{self.path}".replace("/", "-").replace("{", "").replace("}", "")


@dataclass(frozen=True)
class Named:
    """A schema with its fields."""

    name: str
    description: str
    fields: list[Field]
    type: list[Word]
    """What stands for it where it has no fields: the schemas it chooses from, or a plain type."""


def operations(document: dict[str, Any]) -> dict[str, list[Operation]]:
    """Operations by tag, in the document's order."""
    by_tag: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            body = told.get("requestBody", {}).get("content", {})
            success: Schema = next(
                (answer for status, answer in told["responses"].items() if status.startswith("2")), {}
            )
            operation = Operation(
                method=method.upper(),
                path=path,
                summary=_summary(told),
                description=told.get("description", ""),
                parameters=[_parameter(parameter) for parameter in told.get("parameters", [])],
                body=_content_type(body),
                answer=_content_type(success.get("content", {})),
            )
            by_tag.setdefault(told.get("tags", ["other"])[0], []).append(operation)
    return by_tag


def schemas(document: dict[str, Any]) -> list[Named]:
    """Every named schema, by name."""
    found = document.get("components", {}).get("schemas", {})
    return [
        Named(
            name,
            schema.get("description", ""),
            list(_fields(schema)),
            [] if "properties" in schema else type_words(schema),
        )
        for name, schema in sorted(found.items())
    ]


def _summary(told: Schema) -> str:
    summary, description = str(told.get("summary", "")), str(told.get("description", ""))
    # where nobody wrote one, FastAPI makes A Title Of The Function's Name
    if summary == summary.title() and description:
        return description.partition("\n")[0].partition(". ")[0].rstrip(".")
    return summary


def _parameter(parameter: Schema) -> Field:
    schema = parameter.get("schema", {})
    description = parameter.get("description") or schema.get("description", "")
    return Field(parameter["name"], type_words(schema), parameter.get("required", False), description, _default(schema))


def _fields(schema: Schema) -> Iterator[Field]:
    required = schema.get("required", [])
    for name, told in schema.get("properties", {}).items():
        yield Field(name, type_words(told), name in required, told.get("description", ""), _default(told))


def _default(schema: Schema) -> str | None:
    default = schema.get("default")
    return None if default is None else str(default)


def _content_type(content: dict[str, Any]) -> list[Word]:
    """The type of a body's first form."""
    for media_type, told in content.items():
        return type_words(told.get("schema", {})) if media_type == "application/json" else [Word(media_type)]
    return []


def type_words(schema: Schema) -> list[Word]:
    """A schema as a reader would say it: ``list of ScoreItem``, ``number or null``."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return [Word(name, name)]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _joined([type_words(choice) for choice in choices])
    if values := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        return [Word(" | ".join(str(value) for value in values))]
    kind = schema.get("type", "any JSON")
    if kind == "array" and "items" in schema:
        return [Word("list of "), *type_words(schema["items"])]
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return [Word("object of "), *type_words(schema["additionalProperties"])]
    return [Word(str(schema.get("format", kind) if kind == "string" else kind))]


def _joined(choices: list[list[Word]]) -> list[Word]:
    words = list(choices[0])
    for choice in choices[1:]:
        words += [Word(" or "), *choice]
    return words

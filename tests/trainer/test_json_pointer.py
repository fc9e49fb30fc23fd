"""Pointers lead into what was sent, not into how a schema calls it."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from trainer.json_pointer import error_pointer, json_pointer


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str | list[int]] = []


PETS: TypeAdapter[Any] = TypeAdapter(dict[str, Annotated[Cat | Dog, Field(discriminator="kind")]])


def pointers(content: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        PETS.validate_python(content)
    return [error_pointer(error, content) for error in caught.value.errors()]


def test_slashes_and_tildes_are_escaped() -> None:
    assert json_pointer(["items", 0, "a/b~c"]) == "/items/0/a~1b~0c"


def test_a_missing_field_is_pointed_at_where_it_would_stand() -> None:
    assert pointers({"tom": {"kind": "cat"}}) == ["/tom/lives"]


def test_names_of_union_members_are_left_out() -> None:
    assert pointers({"rex": {"kind": "dog", "tricks": ["sit", [1, "x"]]}}) == ["/rex/tricks/1", "/rex/tricks/1/1"]
    assert pointers({"rex": {"kind": "cow"}}) == ["/rex"]

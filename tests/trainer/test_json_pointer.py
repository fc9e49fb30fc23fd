"""Pointers lead into what was sent, not into how a schema calls it."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from trainer.json_pointer import error_pointer, json_pointer, pointer_by_kind


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


def test_an_entry_that_a_list_is_too_short_for_is_pointed_at_where_it_would_be() -> None:
    class Pair(BaseModel):
        betas: tuple[float, float]

    with pytest.raises(ValidationError) as caught:
        Pair.model_validate({"betas": ["abc"]})

    pointers = [error_pointer(each, {"betas": ["abc"]}) for each in caught.value.errors()]
    assert pointers == ["/betas/0", "/betas/1"]


def test_a_kind_that_is_the_name_of_a_field_too_is_not_taken_for_it() -> None:
    class PPO(BaseModel):
        kind: Literal["ppo"]
        name: int
        ppo: dict[str, int]

    class SFT(BaseModel):
        kind: Literal["sft"]

    either: TypeAdapter[Any] = TypeAdapter(Annotated[PPO | SFT, Field(discriminator="kind")])
    content = {"kind": "ppo", "name": "x", "ppo": {"clip": "y"}}
    with pytest.raises(ValidationError) as caught:
        either.validate_python(content)

    assert [pointer_by_kind(each, content) for each in caught.value.errors()] == ["/name", "/ppo/clip"]

"""YAML beside a form is a tree: what could fill memory, never end or not be shown is refused with a reason."""

import pytest

from service.dashboard.plain_yaml import MOST_BYTES, read_yaml, write_yaml
from trainer.errors import InvalidInput

# ten lines of ten aliases to the line before: ten billion times a
LAUGHS = "a0: &a0 [a]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "*a0: aliases are not read here; write out what it stands for"),
        ("a: &a [*a]", "*a: aliases are not read here"),
        ("a: &a {b: 1}\nc: {<<: *a}", "*a: aliases are not read here"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("[" * 10_000, "nested more than 64 deep"),
        ("# " + "x" * MOST_BYTES, "at most 262,144 bytes"),
        ('"\\ud800"', "surrogates not allowed"),
        ("a: [", "not YAML: while parsing"),
        ("2026-13-45", "not YAML: month must be in 1..12"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_yaml(text)
    assert reason in refused.value.detail


def test_what_is_as_deep_and_as_large_as_allowed_is_read() -> None:
    assert read_yaml("[" * 64 + "]" * 64) is not None
    assert read_yaml("# " + "x" * (MOST_BYTES - 2)) is None


def test_a_value_that_is_there_twice_is_written_twice() -> None:
    shared = [1, 2]
    text = write_yaml({"a": shared, "b": shared})
    assert text == "a:\n- 1\n- 2\nb:\n- 1\n- 2\n"
    assert read_yaml(text) == {"a": [1, 2], "b": [1, 2]}

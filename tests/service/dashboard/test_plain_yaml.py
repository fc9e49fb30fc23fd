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
        ("a: 1\nb: [1, {]", "expected the node content, but found ']' (line 2, column 9)"),
        ("a: 2026-11-26", "a date; a recipe has texts, numbers, lists and mappings: write one"),
        ("2026-11-26 10:00:00: a", "a date;"),
        ("a: !!binary aGVsbG8=", "bytes;"),
        ("a: !!set {b, c}", "a set;"),
        ("a: !!omap [b: c]", "an ordered map;"),
        ("a: !!pairs [b: c]", "a list of pairs;"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor for the tag"),
        ("a: 0x1" + "0" * 16, "an integer of more than 64 bits"),
        ("a: 0x" + "f" * 4000, "an integer of more than 64 bits"),  # which Python would not write in decimals
        ("0b" + "1" * 100 + ": a", "an integer of more than 64 bits"),
        ("a: 1" + ":59" * 3000, "an integer of more than 64 bits"),  # YAML 1.1 counts minutes and seconds
        ("a: " + "9" * 5000, "Exceeds the limit (4300 digits)"),
        ("a: 1" + ":59" * 300 + ".5", "int too large to convert to float"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_yaml(text)
    assert reason in refused.value.detail


def test_what_is_as_deep_and_as_large_as_allowed_is_read() -> None:
    assert read_yaml("a: 0xffff_ffff_ffff_ffff\nb: -9223372036854775808") == {"a": 2**64 - 1, "b": -(2**63)}
    assert read_yaml("{<<: {a: 1}, b: 2026-11-26 or so}") == {"a": 1, "b": "2026-11-26 or so"}
    assert read_yaml("[" * 64 + "]" * 64) is not None
    assert read_yaml("# " + "x" * (MOST_BYTES - 2)) is None


def test_a_value_that_is_there_twice_is_written_twice() -> None:
    shared = [1, 2]
    text = write_yaml({"a": shared, "b": shared})
    assert text == "a:\n- 1\n- 2\nb:\n- 1\n- 2\n"
    assert read_yaml(text) == {"a": [1, 2], "b": [1, 2]}

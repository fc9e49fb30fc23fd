"""Bodies: nested so deep and no deeper, whatever stands in strings, and quickly whatever is sent."""

import gzip
import json
import time

import pytest
from starlette.exceptions import HTTPException

from service.bodies import MAX_DEPTH, MAX_VALUES, _check_json, _Gzip, structure
from trainer.errors import InvalidInput


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, False),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), True),
        (b'{"a":' * 65 + b"1" + b"}" * 65, True),
        (b"[" + b"[],{}," * 1000 + b"1]", False),
        (json.dumps(["[" * 1000, '\\"[[[{' * 100]).encode(), False),
        (b'["' + b"[" * 1000, False),  # malformed: the parser says so
        (b"]" * 1000 + b"[" * 100, False),  # likewise
        (b'"\\' + b"[" * 100, False),
        (b"", False),
    ],
)
def test_depth_is_counted_outside_strings(body: bytes, deep: bool) -> None:
    assert (structure(body)[0] > MAX_DEPTH) is deep


@pytest.mark.parametrize(
    "body", [b"[" * 10**7, b'"' + b'\\"' * 10**6 + b"[" * 10**6, b"[]" * 5 * 10**6, b'"[' * 10**6, b"[]," * 2 * 10**7]
)
def test_no_body_takes_long(body: bytes) -> None:
    started = time.thread_time()
    structure(body)
    assert time.thread_time() - started < 5  # milliseconds here; what grows with the square takes hours


def test_gzip_members_that_unpack_to_nothing_count_too() -> None:
    empty = gzip.compress(b"")  # 20 bytes
    body = _Gzip(limit=100)
    for _ in range(5):
        body.add(empty)

    with pytest.raises(HTTPException, match="larger than 100 bytes"):
        body.add(empty)


def test_values_are_counted_outside_strings() -> None:
    text = json.dumps(["[,{" * MAX_VALUES, '\\",[' * 10, "\\"]).encode()
    assert structure(text) == (1, 3)  # the list and its two commas
    assert structure(b"[" + b'[",",{"a":1}],' * MAX_VALUES + b"1]")[1] == 1 + 4 * MAX_VALUES


def test_a_body_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    many = b"[" + b"[]," * (MAX_VALUES // 2) + b"[]]"  # two more than may be
    with pytest.raises(HTTPException, match=f"more than {MAX_VALUES} values; send it in parts") as refused:
        _check_json(many)
    assert refused.value.status_code == 413
    _check_json(many.replace(b"[],[],", b"[],"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(InvalidInput, match="send UTF-8"):
        _check_json('{"a": [1]}'.encode(encoding))
    _check_json('{"a": [1]}'.encode("utf-8-sig"))

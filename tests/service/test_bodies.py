"""Bodies: nested so deep and no deeper, whatever stands in strings, and quickly whatever is sent."""

import gzip
import json
import time

import pytest
from starlette.exceptions import HTTPException

from service.bodies import MAX_DEPTH, _Gzip, too_deep


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
    assert too_deep(body) is deep


@pytest.mark.parametrize("body", [b"[" * 10**7, b'"' + b'\\"' * 10**6 + b"[" * 10**6, b"[]" * 5 * 10**6, b'"[' * 10**6])
def test_no_body_takes_long(body: bytes) -> None:
    started = time.perf_counter()
    too_deep(body)
    assert time.perf_counter() - started < 5  # milliseconds here; what grows with the square takes hours


def test_gzip_members_that_unpack_to_nothing_count_too() -> None:
    empty = gzip.compress(b"")  # 20 bytes
    body = _Gzip(limit=100)
    for _ in range(5):
        body.add(empty)

    with pytest.raises(HTTPException, match="larger than 100 bytes"):
        body.add(empty)

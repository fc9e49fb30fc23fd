"""Request bodies, read whole before a route sees them: within size and time, unpacked, and not nested endlessly."""

import asyncio
import json
import zlib

import numpy as np
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access import NOBODY, Caller, admit_before_body
from trainer.errors import InvalidInput

MAX_DEPTH = 64
"""How deeply arrays and objects of a JSON body may be nested."""

UNKNOWN_CALLER_BYTES = 64 * 2**10
"""Largest body that is read of somebody who has not shown a key where one is needed."""

MAX_VALUES = 500_000
"""How many values a JSON body may hold, about: its commas and opening brackets. A reader of JSON makes an object of
each in one step that nothing can interrupt, also in a thread; a million took 0.8 s."""

_AT_ONCE = 2**20
"""Bodies of more bytes are looked at beside the event loop."""

_STRUCTURE = frozenset(b'"[]{},')
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)


class Bodies:
    """Hands the application each body in one piece.

    What is wrong with one is raised where a route asks for it: 408, 413, 415 or 422. Before anything is read of it,
    whoever lacks what the route needs is refused.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        done = False

        async def whole() -> Message:
            nonlocal done
            if done:
                return await receive()
            admit_before_body(Request(scope))
            done = True
            body = await self._read(headers, receive, self._limit(scope))
            if body is None:
                return {"type": "http.disconnect"}
            if "json" in headers.get("content-type", "").lower():
                await to_thread.run_sync(_check_json, body) if len(body) > _AT_ONCE else _check_json(body)
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    def _limit(self, scope: Scope) -> int:
        caller: Caller = scope["state"].get("caller", NOBODY)
        known = caller.free or caller.key is not None
        return self._max_bytes if known else min(self._max_bytes, UNKNOWN_CALLER_BYTES)

    async def _read(self, headers: Headers, receive: Receive, limit: int) -> bytes | None:
        """The body, unpacked; None where the sender went away."""
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            reason = f"content-encoding {encoding[:40]!r} is not read here; send gzip or none"
            raise HTTPException(415, reason, headers={"Accept-Encoding": "gzip"})
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        unpack = _Gzip(limit) if encoding == "gzip" else _Plain(limit)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    unpack.add(message.get("body", b""))
                    if not message.get("more_body", False):
                        return unpack.end()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {self._timeout_seconds:g} seconds") from None


class _Plain:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()

    def add(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > self._limit:
            raise _too_large(self._limit)

    def end(self) -> bytes:
        return bytes(self._body)


class _Gzip(_Plain):
    """Unpacks as it reads, and never more than the limit: a small body can unpack to a thousand times its size.

    Nor is more than the limit read, as members may unpack to nothing.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._member = self._new()
        self._packed = 0

    def _new(self) -> "zlib._Decompress":
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def add(self, chunk: bytes) -> None:
        self._packed += len(chunk)
        if self._packed > self._limit:
            raise _too_large(self._limit)
        try:
            while chunk:
                super().add(self._member.decompress(chunk, self._limit + 1 - len(self._body)))
                chunk = self._member.unconsumed_tail
                if self._member.eof:  # another member may follow (RFC 1952, section 2.2)
                    chunk = self._member.unused_data
                    if chunk:
                        self._member = self._new()
        except zlib.error as error:
            raise _not_gzip() from error

    def end(self) -> bytes:
        if not self._member.eof:
            raise _not_gzip()
        return super().end()


def _not_gzip() -> InvalidInput:
    return InvalidInput("body: content-encoding says gzip, and it is not, or ends too early", pointer="")


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit} bytes; send it in parts")


def _check_json(body: bytes) -> None:
    if not json.detect_encoding(body).startswith("utf-8"):  # which Python reads, and what follows would miscount
        raise InvalidInput("body: is not UTF-8; send UTF-8", pointer="")
    depth, values = structure(body)
    if values > MAX_VALUES:
        raise HTTPException(413, f"the body holds more than {MAX_VALUES} values; send it in parts")
    if depth > MAX_DEPTH:
        raise InvalidInput(f"body: nested more than {MAX_DEPTH} deep", pointer="")


def structure(body: bytes) -> tuple[int, int]:
    """How deeply arrays and objects of a JSON body are nested and how many values there are, both as bounds from above
    where that is within the limits.

    A few passes in C whatever the body: what reads JSON in Python itself runs out of stack or of time.
    """
    opening = body.count(b"[") + body.count(b"{")
    values = opening + body.count(b",")
    if opening <= MAX_DEPTH and values <= MAX_VALUES:
        return opening, values
    # pairs of backslashes first, so that a quote behind one that is left does not end its string
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    found = np.frombuffer(marks, np.uint8)
    if b'"' in marks:
        quotes = found == ord('"')
        found = found[~(quotes | np.logical_xor.accumulate(quotes))]
    values = sum(int(np.count_nonzero(found == mark)) for mark in b"[{,")
    if values > MAX_VALUES:
        return 0, values
    steps = np.where((found == ord("[")) | (found == ord("{")), np.int8(1), np.where(found == ord(","), 0, np.int8(-1)))
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0)), values

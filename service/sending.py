"""Files sent while they are read from the database: a few at a time, and to clients that take them."""

import asyncio
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from threading import BoundedSemaphore

from anyio import CancelScope, to_thread
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from trainer.errors import Overloaded


class Exports:
    """How many files may be under way: each holds a connection to the database until it is sent."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = BoundedSemaphore(most)

    @contextmanager
    def one(self) -> Iterator[None]:
        """A file's place, given back in the end. Raises Overloaded where all are taken."""
        if not self._free.acquire(blocking=False):
            raise Overloaded(f"{self._most} files are being sent, as many as may be; try again when one is done")
        try:
            yield
        finally:
            self._free.release()


class TakenResponse(StreamingResponse):
    """Sends what a generator makes, and ends the generator with it, sent or not.

    Breaks off where the client takes none of it for a minute: what the file is read from would be held for ever.
    """

    stall_seconds = 60.0

    def __init__(self, parts: Generator[bytes], media_type: str, headers: Mapping[str, str]) -> None:
        """Runs to the first part, so that what fails at once is raised here."""
        self._parts = parts
        begun = next(parts, b"")
        super().__init__(chain([begun], parts), media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def timely(message: Message) -> None:
            try:
                async with asyncio.timeout(self.stall_seconds):
                    await send(message)
            except TimeoutError as error:
                raise ClientDisconnect from error

        try:
            await super().__call__(scope, receive, timely)
        finally:
            with CancelScope(shield=True):  # a client that hung up cancels this
                await to_thread.run_sync(self._parts.close)

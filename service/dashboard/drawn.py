"""Figures as they were drawn, kept in memory: what a finished run found never changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future


class Drawn:
    """The texts asked for last, up to a number of bytes; older ones go."""

    def __init__(self, max_bytes: int = 32_000_000) -> None:
        self._max_bytes = max_bytes
        self._texts: OrderedDict[Hashable, bytes] = OrderedDict()
        self._drawing: dict[Hashable, Future[bytes]] = {}
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What is kept now."""
        return self._held

    def get(self, key: Hashable, draw: Callable[[], bytes]) -> bytes:
        """What is kept under ``key``, else what ``draw`` gives, which is kept from now on.

        Of several that ask for the same meanwhile one draws; the others wait and get what it got, or its error.
        """
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
            if (drawing := self._drawing.get(key)) is None:
                ours = self._drawing[key] = Future()
        if drawing is not None:
            return drawing.result()
        try:
            text = draw()
        except BaseException as error:
            with self._lock:
                del self._drawing[key]
            ours.set_exception(error)
            raise
        with self._lock:
            del self._drawing[key]
            self._texts[key] = text
            self._held += len(text)
            while self._held > self._max_bytes:
                _, oldest = self._texts.popitem(last=False)
                self._held -= len(oldest)
        ours.set_result(text)
        return text

"""Figures as they were drawn, kept in memory: what a finished run found never changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Drawn:
    """The texts asked for last, up to a number of bytes; older ones go."""

    def __init__(self, max_bytes: int = 32_000_000) -> None:
        self._max_bytes = max_bytes
        self._texts: OrderedDict[Hashable, bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What is kept now."""
        return self._held

    def get(self, key: Hashable, draw: Callable[[], bytes]) -> bytes:
        """What is kept under ``key``, else what ``draw`` gives, which is kept from now on."""
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
        # two that ask at once both draw: rare, and better than one of them waiting for a figure of another run
        text = draw()
        with self._lock:
            self._held += len(text) - len(self._texts.pop(key, b""))
            self._texts[key] = text
            while self._held > self._max_bytes:
                _, oldest = self._texts.popitem(last=False)
                self._held -= len(oldest)
        return text

"""Import the heavy libraries from threads, one at a time.

transformers puts other modules in its own place while it is imported. A second thread that imports it meanwhile is
left with the first, empty ones: ``cannot import name 'PreTrainedModel'``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_DOOR = threading.RLock()  # the table of imported modules is global, and so is its guard


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Hold this around an import that may bring transformers, wherever another thread may do the same."""
    with _DOOR:
        yield

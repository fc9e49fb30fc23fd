"""A process that ends itself when something has happened: whoever watches it from outside may be held up meanwhile."""

import os
import signal
import threading
import time
from collections.abc import Callable


def die_when(happens: Callable[[], bool], seconds: float = 0.0, by: int = signal.SIGKILL) -> None:
    """Have this process get a signal so many seconds after something ``happens``, wherever it is then."""

    def watch() -> None:
        while not happens():
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(os.getpid(), by)

    threading.Thread(target=watch, daemon=True).start()

"""One client for each process and server, whoever asks first."""

import os
import signal
import threading
import time

import pytest

from service.integrations import environment
from service.integrations.environment import Place


class SlowToOpen:
    """A client whose making takes a while; counts those that are open."""

    open = 0
    begun = threading.Event()

    def __init__(self, *_: object, **__: object) -> None:
        SlowToOpen.open += 1
        self.begun.set()
        time.sleep(0.2)

    def close(self) -> None:
        SlowToOpen.open -= 1


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(environment, "AssayClient", SlowToOpen)
    environment._clients.clear()
    monkeypatch.setattr(environment.atexit, "register", lambda _: None)
    monkeypatch.setattr(SlowToOpen, "open", 0)
    SlowToOpen.begun.clear()
    return Place("http://assay", "s", None, "error")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forked_while_another_thread_opens_its_client_opens_its_own(place: Place) -> None:
    opening = threading.Thread(target=environment._client, args=(place,))
    opening.start()
    SlowToOpen.begun.wait()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # ends a child that waits for a lock whose thread was not forked
        try:
            environment._client(place)
            os._exit(0)
        finally:
            os._exit(1)
    opening.join()
    assert os.waitpid(child, 0)[1] == 0


def test_threads_that_ask_first_at_the_same_time_share_one_client(place: Place) -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(environment._client(place))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(each) for each in found}) == SlowToOpen.open == 1

"""Deleting has a thread of its own: what hangs or fails there holds up no job."""

import logging
import threading
import time
from collections.abc import Callable

import pytest

from service.db.records import JobRecord
from service.jobs import housekeeping
from service.jobs.dispatcher import Dispatcher

pytestmark = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)


def test_jobs_go_on_while_a_deletion_hangs_and_a_stop_does_not_wait_for_it(
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: Callable[..., JobRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def forget(*_: object) -> int:
        hangs.set()
        goes_on.wait(60)
        return 0

    monkeypatch.setattr(housekeeping, "forget", forget)
    monkeypatch.setattr(housekeeping, "_SECONDS_TO_END", 0.05)
    dispatcher = start_dispatcher()
    assert hangs.wait(60)
    try:
        assert wait_for(submit_counting(steps=1)).status == "succeeded"
        dispatcher.stop()
        assert not dispatcher.alive
        assert not goes_on.is_set()
    finally:
        goes_on.set()


def test_what_fails_is_said_once_and_what_comes_after_it_is_done(
    start_dispatcher: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forget(*_: object) -> int:
        raise OSError("no storage today")

    tidied = threading.Event()
    monkeypatch.setattr(housekeeping, "forget", forget)
    monkeypatch.setattr(housekeeping, "tidy", lambda *_: tidied.set())
    with caplog.at_level(logging.ERROR):
        start_dispatcher(poll_seconds=0.01)
        assert tidied.wait(60)
        time.sleep(0.2)  # 20 rounds of the dispatcher
    assert [record.message for record in caplog.records] == ["housekeeping: forget failed; tried again in an hour"]

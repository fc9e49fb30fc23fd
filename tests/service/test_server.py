"""Where the server listens."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service import server
from service.server import _listen
from service.settings import Settings, load_settings
from trainer.errors import InvalidInput


def test_connections_send_what_they_have_at_once() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_taken_port_is_said_at_once() -> None:
    with _listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"cannot listen on 127.0.0.1 port {port}.*choose another"):
            _listen("127.0.0.1", port)


@pytest.mark.parametrize(("gpus", "seen"), [("none", ""), ("2,0", "2,0")])
def test_the_server_sees_the_gpus_it_was_told_to_use_and_no_others(
    gpus: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("ASSAY_GPUS", gpus)
    served: list[str] = []
    monkeypatch.setattr(server, "_serve", lambda *_: served.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    server.run_server(load_settings(database_url=f"sqlite:///{tmp_path}/assay.db", port=0))
    assert served == [seen]


def test_idle_connections_outlast_those_who_keep_them(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(server, "set_up_logging", lambda _: None)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: kept.append(self.config.timeout_keep_alive))
    with _listen("127.0.0.1", 0) as listener:
        server._serve(settings, listener)

    assert kept[0] > 60, "of a common load balancer"


REPORTING = """
import gc, threading, time
from pathlib import Path
from service.cli import main

def report():
    while not gc.get_freeze_count():
        time.sleep(0.01)
    Path("frozen").write_text(f"{gc.get_freeze_count()} {len(gc.get_objects())}")

threading.Thread(target=report, daemon=True).start()
main(["serve", "--port", "0"])
"""


def test_the_garbage_collector_leaves_alone_what_is_in_memory_for_good(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_server(tmp_path, program=REPORTING)
    deadline = time.monotonic() + 60
    while not (tmp_path / "frozen").exists() or not (tmp_path / "frozen").read_text():
        assert time.monotonic() < deadline, "nothing was ever set apart"
        time.sleep(0.05)
    running.stop()

    frozen, looked_at = map(int, (tmp_path / "frozen").read_text().split())
    assert frozen > 10 * looked_at

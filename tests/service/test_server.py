"""Where the server listens."""

import os
import socket
from pathlib import Path

import pytest

from service import server
from service.server import _listen
from service.settings import load_settings
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

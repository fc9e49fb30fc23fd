"""A real S3-compatible server, and one in front of it that breaks things on purpose."""

import http.client
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.ports import port_of, reserved

Trouble = Literal["refuse", "lose the answer", "cut"]
"""What happens to a request: 503 before it is carried out, or its answer never arrives, or its body breaks off."""


@contextmanager
def run_s3() -> Iterator[str]:
    """The address of moto's server, in a process of its own."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p"]
    with (
        reserved() as holder,
        subprocess.Popen(
            [*command, str(port_of(holder))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process,
    ):
        address = f"http://127.0.0.1:{port_of(holder)}"
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(address, timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, "moto's server ended"
                    assert time.monotonic() < deadline, "moto's server does not answer"
                    time.sleep(0.05)
            yield address
        finally:
            process.kill()


def environment(address: str) -> dict[str, str]:
    """What a process needs to find the server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def new_place(address: str) -> str:
    """The URL of a place in a new bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    make_bucket(address, name)
    return f"s3://{name}/team"


def make_bucket(address: str, name: str) -> None:
    """Empty, on the server behind ``address``."""
    urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT"), timeout=10).close()


class BadLine:
    """A server in front of another that asks ``trouble(method, path)`` about each request."""

    def __init__(self, address: str, trouble: Callable[[str, str], Trouble | None]) -> None:
        behind = address.removeprefix("http://")
        self.seen: list[tuple[str, str, Trouble | None]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                if self.headers.get("Expect"):
                    self.send_response_only(100)
                    self.end_headers()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                what = trouble(self.command, self.path)
                seen.append((self.command, self.path, what))
                if what == "refuse":
                    self._answer(503, {}, b"")
                    return
                with closing(http.client.HTTPConnection(behind, timeout=30)) as connection:
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                    if what == "cut":
                        connection.request(self.command, self.path, body[: len(body) // 2], headers)
                        self.close_connection = True
                        return
                    connection.request(self.command, self.path, body, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                if what == "lose the answer":
                    self.close_connection = True
                    return
                self._answer(answer.status, dict(answer.getheaders()), content)

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response_only(status)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - names of the base class

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> "BadLine":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

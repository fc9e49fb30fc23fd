"""``assay serve``: API, dashboard and dispatcher in one process."""

import contextlib
import ipaddress
import socket
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.options import ArtifactDir, DatabaseUrl
from trainer.errors import InvalidInput

if TYPE_CHECKING:
    from service.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")] = None,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
    executor: Annotated[Literal["local", "ray"] | None, typer.Option(help="What carries out jobs.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although nobody needs a key.")
    ] = False,
) -> None:
    """Serve the API and the dashboard, and run queued jobs."""
    from service.settings import load_settings

    settings = load_settings(
        host=host, port=port, database_url=database_url, artifact_dir=artifact_dir, executor=executor
    )
    if not insecure and not is_loopback(settings.host):
        raise InvalidInput(
            f"{settings.host} is reachable from other machines and nobody would need a key;"
            " serve on 127.0.0.1, or say --insecure"
        )
    listener = _listen(settings.host, settings.port)
    with listener:
        _run(settings, listener)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, opened before anything else so that a taken port is said at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInput(f"cannot listen on {host} port {port}: {reason}; choose another --host or --port") from error


def _run(settings: "Settings", listener: socket.socket) -> None:
    import uvicorn

    from service.app import create_app
    from service.db import schema
    from service.db.session import make_engine

    schema.prepare(make_engine(settings.database_url))
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    sys.stdout.write(
        f"Assay is at http://{address}:{port} and its API at http://{address}:{port}/docs; Ctrl-C stops it\n"
    )
    sys.stdout.flush()
    config = uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=5, server_header=False)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn repeats the signal once it has shut down in order
        uvicorn.Server(config).run(sockets=[listener])

"""``assay serve``: API, dashboard and dispatcher in one process."""

import ipaddress
from typing import Annotated, Literal

import typer

from service.cli.options import ArtifactDir, DatabaseUrl
from trainer.errors import InvalidInput


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
    from service.server import run_server
    from service.settings import load_settings

    settings = load_settings(
        host=host, port=port, database_url=database_url, artifact_dir=artifact_dir, executor=executor
    )
    if not insecure and not is_loopback(settings.host):
        raise InvalidInput(
            f"{settings.host} is reachable from other machines and nobody would need a key;"
            " serve on 127.0.0.1, or say --insecure"
        )
    run_server(settings)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

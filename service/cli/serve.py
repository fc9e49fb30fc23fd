"""``assay serve``: API, dashboard and dispatcher in one process."""

from typing import Annotated, Literal

import typer

from service.cli.options import ArtifactDir, DatabaseUrl, StorageUrl
from service.cli.printing import note


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")] = None,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
    storage_url: StorageUrl = None,
    executor: Annotated[Literal["local", "ray"] | None, typer.Option(help="What carries out jobs.")] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Lines for people, or JSON with a line for every request. [default: text]"),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although no key exists.")
    ] = False,
) -> None:
    """Serve the API and the dashboard, and run queued jobs."""
    from service.server import run_server
    from service.settings import load_settings, misspelt

    for name, meant in misspelt().items():
        note(f"{name} is no setting and has no effect; did you mean {meant}?")
    settings = load_settings(
        host=host,
        port=port,
        database_url=database_url,
        artifact_dir=artifact_dir,
        storage_url=storage_url,
        executor=executor,
        log_format=log_format,
    )
    run_server(settings, insecure=insecure)

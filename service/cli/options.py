"""Options that several commands share, each explained once."""

from pathlib import Path
from typing import Annotated

import typer

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="SQLite file or PostgreSQL server.", envvar="ASSAY_DATABASE_URL"),
]
ArtifactDir = Annotated[
    Path | None,
    typer.Option("--artifact-dir", help="Where artifacts are published.", envvar="ASSAY_ARTIFACT_DIR"),
]
StorageUrl = Annotated[
    str | None,
    typer.Option(
        "--storage-url",
        help="Object storage that machines share, such as s3://BUCKET/PREFIX; directories here hold copies.",
        envvar="ASSAY_STORAGE_URL",
    ),
]
ServerUrl = Annotated[
    str | None,
    typer.Option("--url", help="Ask this Assay server instead of working here.", envvar="ASSAY_URL"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

"""Which versions a run uses: settled when it starts, so that continuing it never mixes two."""

import json
from collections.abc import Iterable
from pathlib import Path

from trainer.artifacts import ArtifactStore, names_directory
from trainer.files import write_atomically

PINS_FILE = "pins.json"


def settle_versions(names: Iterable[str], store: ArtifactStore, directory: Path) -> dict[str, str]:
    """Map each ``NAME[@VERSION][:OUTPUT]`` to the same with a version, as stored in ``directory`` by the run's first
    start.

    Directories stay as they are. Raises NotFound, or BrokenArtifact for files that are not those published.
    """
    path = directory / PINS_FILE
    if not path.exists():
        pinned = {name: _pinned(name, store) for name in names}
        write_atomically(path, json.dumps(pinned, indent=2) + "\n")
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _pinned(name: str, store: ArtifactStore) -> str:
    if names_directory(name):
        return name
    reference, colon, output = name.partition(":")
    artifact = store.open(reference)
    artifact.verify()
    return f"{artifact.reference}{colon}{output}"

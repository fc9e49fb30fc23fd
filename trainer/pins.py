"""Which versions a run uses: settled when it starts, so that continuing it never mixes two."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from trainer.artifacts import ArtifactStore, names_directory
from trainer.errors import InvalidInput, NotFound
from trainer.files import write_atomically

PINS_FILE = "pins.json"


def settle_versions(
    names: Iterable[str], store: ArtifactStore, directory: Path, *, elsewhere: Callable[[str], str] | None = None
) -> dict[str, str]:
    """Map each ``NAME[@VERSION][:OUTPUT]`` to the same with a version, as stored in ``directory`` by the run's first
    start. Asked again for other names, it adds those.

    Directories stay as they are; a name that is no artifact's becomes what ``elsewhere``, where given, makes of it.
    Raises NotFound, or BrokenArtifact for files that are not those published.
    """
    path = directory / PINS_FILE
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    # outputs of one artifact are of one version, whatever is published while names are settled
    opened = {name.partition(":")[0]: pinned.partition(":")[0] for name, pinned in content.items()}
    added = {}
    for name in (name for name in names if name not in content):
        reference, colon, output = name.partition(":")
        known = opened.get(reference)
        added[name] = _pinned(name, store, elsewhere) if known is None else f"{known}{colon}{output}"
        opened[reference] = added[name].partition(":")[0]
    if added:
        content |= added
        write_atomically(path, json.dumps(content, indent=2) + "\n")
    return content


def _pinned(name: str, store: ArtifactStore, elsewhere: Callable[[str], str] | None) -> str:
    if names_directory(name):
        return name
    reference, colon, output = name.partition(":")
    try:
        artifact = store.open(reference)
    except (InvalidInput, NotFound):
        if elsewhere is None:
            raise
        return elsewhere(name)
    artifact.verify()
    return f"{artifact.reference}{colon}{output}"

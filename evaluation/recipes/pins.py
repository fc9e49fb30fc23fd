"""Which versions a run uses: settled when it starts, so that continuing it never mixes two."""

import json
from collections.abc import Iterable
from pathlib import Path

from evaluation.engine.names import ScorerName
from trainer.artifacts import ArtifactStore, names_directory
from trainer.files import write_atomically


def settle_versions(names: Iterable[str], store: ArtifactStore, path: Path) -> dict[str, str]:
    """Map each name to the same name with a version, as stored in ``path`` by the run's first start.

    Directories stay as they are. Raises NotFound, or BrokenArtifact for files that are not those published.
    """
    if not path.exists():
        pinned = {name: _pinned(name, store) for name in names}
        write_atomically(path, json.dumps(pinned, indent=2) + "\n")
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _pinned(name: str, store: ArtifactStore) -> str:
    if names_directory(name):
        return name
    scorer = ScorerName.parse(name)
    artifact = store.open(scorer.reference)
    artifact.verify()
    return artifact.reference if scorer.output is None else f"{artifact.reference}:{scorer.output}"

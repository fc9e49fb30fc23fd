"""Where trained things lie: each an immutable directory with a manifest, published all at once or not at all.

``<root>/<name>/<version>/`` holds the Hugging Face files and ``manifest.json``. Publishing writes into a hidden
staging directory on the same disk, flushes it, writes the manifest last and renames the directory into place.
"""

import math
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound
from trainer.files import sha256_of, storage_errors, sync, sync_tree
from trainer.manifest import (
    MANIFEST_FILE,
    Artifact,
    ArtifactKind,
    Manifest,
    Parent,
    Probe,
    code_version,
    files_of,
    read_artifact,
)
from trainer.staging import staged

STAGING_DIRECTORY = ".staging"
_ADAPTER_FILE = "adapter_config.json"
_SEGMENT = r"(?!\d+(?:/|$))[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(rf"{_SEGMENT}(/{_SEGMENT}){{0,2}}")
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy"}


def check_name(name: str) -> str:
    """Return ``name`` if it may name an artifact; raises ValueError saying what a name looks like."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name is letters, digits, '.', '_' and '-', at most three parts of up to 64 joined by '/', "
            "none of them only digits"
        )
    return name


@dataclass(frozen=True)
class Contents:
    """What a producer tells about an artifact; name, version, time and digests are added at publishing."""

    kind: ArtifactKind
    recipe: dict[str, Any]
    recipe_digest: str
    metrics: dict[str, float]
    details: dict[str, Any]
    probes: list[Probe]
    parents: list[Parent]
    job: str | None = None
    data_digest: str | None = None
    data_counts: dict[str, dict[str, int]] = field(default_factory=dict)


class ArtifactStore:
    """Artifacts below one root directory. Any number of processes may publish and read at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_writable(self) -> None:
        """Raises StorageFailure now, rather than after hours of training, where nothing could be published."""
        probe = self.root / STAGING_DIRECTORY / uuid.uuid4().hex
        with storage_errors(self.root):
            probe.mkdir(parents=True)
            probe.rmdir()

    def publish(self, name: str, contents: Contents, *writes: Callable[[Path], None]) -> Artifact:
        """Publish what each of ``writes`` saves in the directory it is given as the next version of ``name``.

        A job that publishes the same name again, because it was killed after publishing and resumed, gets the
        version it already made. Raises StorageFailure where the disk refuses and BrokenArtifact if one left
        pickled files or a number is not one; nothing is visible then.
        """
        check_name(name)
        _refuse_undefined(contents)
        if contents.job is not None:
            for existing in self.versions(name):
                if existing.manifest.job == contents.job:
                    return existing
        with storage_errors(self.root), staged(self.root / STAGING_DIRECTORY) as staging:
            for write in writes:
                _write(write, staging)
            _refuse_pickles(staging)
            files = {str(file.relative_to(staging)): sha256_of(file) for file in files_of(staging)}
            size = sum(file.stat().st_size for file in files_of(staging))
            while True:  # until no other process publishes the same number first
                number = self._next_number(name)
                manifest = Manifest(
                    name=name,
                    version=number,
                    created_at=datetime.now(UTC),
                    code_version=code_version(),
                    files=files,
                    size_bytes=size,
                    **{name: getattr(contents, name) for name in Contents.__dataclass_fields__},
                )
                (staging / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
                sync_tree(staging)
                if self._place(staging, manifest):
                    return self._read(name, number)

    def _next_number(self, name: str) -> int:
        return max(self._version_numbers(name), default=0) + 1

    def _place(self, staging: Path, manifest: Manifest) -> bool:
        """Make a complete directory the version its manifest names; False where that number is taken."""
        target = self._directory(manifest.name, manifest.version)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            staging.rename(target)
        except OSError:
            if target.exists():
                return False
            raise
        sync(target.parent)
        return True

    def open(self, reference: str) -> Artifact:
        """The artifact ``NAME`` (its highest version) or ``NAME@VERSION``.

        Raises InvalidInput for what cannot be a reference, NotFound, or BrokenArtifact for an unreadable manifest.
        """
        name, separator, number = reference.partition("@")
        try:
            check_name(name)
        except ValueError as error:
            raise InvalidInput(f"artifact {reference!r}: {error}") from error
        if separator:
            if not re.fullmatch(r"[1-9]\d{0,8}", number):
                raise InvalidInput(f"artifact {reference!r}: a version is a positive number, as in {name}@1")
            if not self._has(name, int(number)):
                raise NotFound(f"no artifact {reference}; `assay artifacts list` shows what exists")
            return self._read(name, int(number))
        versions = self._version_numbers(name)
        if not versions:
            raise NotFound(f"no artifact {reference}; `assay artifacts list` shows what exists")
        return self._read(name, max(versions))

    def bring(self, artifact: Artifact) -> None:
        """Have the files of an artifact and of the parents it is loaded with here, so that loading does not wait."""

    def versions(self, name: str) -> list[Artifact]:
        """All readable versions of ``name``, oldest first."""
        artifacts = []
        for number in sorted(self._version_numbers(name)):
            try:
                artifacts.append(self._read(name, number))
            except (BrokenArtifact, NotFound):  # `open` reports it; it must not block a new version
                continue
        return artifacts

    def unreadable(self) -> list[BrokenArtifact]:
        """What is wrong with every version whose manifest cannot be read; `versions` and `all` leave those out."""
        broken = []
        for name in self.names():
            for number in sorted(self._version_numbers(name)):
                try:
                    self._read(name, number)
                except BrokenArtifact as error:
                    broken.append(error)
        return broken

    def all(self) -> list[Artifact]:
        """Every readable artifact, by name and version."""
        return [artifact for name in self.names() for artifact in self.versions(name)]

    def delete(self, reference: str) -> None:
        """Remove one version for good, be its manifest unreadable.

        Raises InvalidInput without a version, NotFound, Conflict while others descend from it.
        """
        if "@" not in reference:
            raise InvalidInput(f"deleting needs a version, as in {reference}@1")
        with suppress(BrokenArtifact):
            self.open(reference)
        for other in self.all():
            if any(f"{parent.name}@{parent.version}" == reference for parent in other.manifest.parents):
                raise Conflict(f"{reference} is a parent of {other.reference}; delete that first")
        name, _, number = reference.partition("@")
        self._remove(name, int(number))

    def _remove(self, name: str, number: int) -> None:
        with storage_errors(self.root), staged(self.root / STAGING_DIRECTORY) as grave:
            self._directory(name, number).rename(grave)

    def _directory(self, name: str, number: int) -> Path:
        return self.root / name / str(number)

    def _has(self, name: str, number: int) -> bool:
        return self._directory(name, number).is_dir()

    def _read(self, name: str, number: int) -> Artifact:
        return read_artifact(self._directory(name, number))

    def _version_numbers(self, name: str) -> list[int]:
        directory = self.root / name
        if not directory.is_dir():
            return []
        return [int(child.name) for child in directory.iterdir() if child.is_dir() and child.name.isdigit()]

    def names(self) -> list[str]:
        """Every name something is published under, sorted."""
        if not self.root.is_dir():
            return []
        found = set()
        for manifest in self.root.glob(f"*/**/{MANIFEST_FILE}"):
            relative = manifest.parent.relative_to(self.root)
            if not relative.parts[0].startswith(".") and relative.name.isdigit():
                found.add(str(relative.parent))
        return sorted(found)


def _refuse_undefined(contents: Contents) -> None:
    """JSON has no NaN: a manifest with one could be written and never read."""
    for probe in contents.probes:
        if not all(map(math.isfinite, probe.scores.values())):
            raise BrokenArtifact(f"it scores a probe pair as {probe.scores}: its weights are broken, and not published")
    for metric, value in contents.metrics.items():
        if not math.isfinite(value):
            raise BrokenArtifact(f"its {metric} is {value}, so it is not published; the run's metrics say since when")


def _write(write: Callable[[Path], None], staging: Path) -> None:
    from safetensors import SafetensorError

    try:
        write(staging)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(str(error)) from error


def _refuse_pickles(path: Path) -> None:
    for file in files_of(path):
        if file.suffix in _PICKLES:
            raise BrokenArtifact(
                f"{file.name} is a pickle, which runs code when opened; save the weights as safetensors instead"
            )


def check_weight_files(path: Path) -> None:
    """Raises BrokenArtifact unless a model directory holds all its weights, in safetensors and none of them pickled."""
    _refuse_pickles(path)
    if (path / _ADAPTER_FILE).exists():  # libraries would read the model that it names, wherever that is
        raise BrokenArtifact(
            f"{path} holds an adapter ({_ADAPTER_FILE}), not a whole model; merge it into its model and save that"
        )
    if not any(file.suffix == ".safetensors" for file in files_of(path)):
        raise BrokenArtifact(f"{path} holds no .safetensors weights; save the model with safe serialization")


def names_directory(reference: str) -> bool:
    """Whether a reference in a recipe is a directory rather than an artifact's name, whatever lies around here."""
    return reference.startswith((".", "/", "~"))

"""What a trained thing is on disk: an immutable directory with a manifest, published all at once or not at all.

``<root>/<name>/<version>/`` holds the Hugging Face files and ``manifest.json``. Publishing writes into a hidden
staging directory on the same disk, flushes it, writes the manifest last and renames the directory into place.
"""

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound
from trainer.files import storage_errors, sync_directory, sync_tree

ArtifactKind = Literal["policy", "reward_model", "discriminator"]
Contrast = Literal["prompts", "responses"]
"""What two scored pairs differ in while the other half is the same."""

MANIFEST_FILE = "manifest.json"
STAGING_DIRECTORY = ".staging"
_SEGMENT = r"(?!\d+(?:/|$))[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(rf"{_SEGMENT}(/{_SEGMENT}){{0,2}}")
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy"}


def check_name(name: str) -> str:
    """Return ``name`` if it may name an artifact; raises ValueError saying what a name looks like."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name is letters, digits, '.', '_' and '-', at most three parts joined by '/', none of them only digits"
        )
    return name


def code_version() -> str:
    """Version of this distribution, as recorded in manifests and stored results."""
    try:
        return version("reward-assay")
    except PackageNotFoundError:  # running from a source tree that was never installed
        return "0+source"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parent(_Stored):
    """An artifact this one was made from; ``role`` says how, such as ``reference`` or ``policy``."""

    role: str
    name: str
    version: int
    digest: str


class Probe(_Stored):
    """A pair with the scores the producer saw, re-scored at load to prove that serving equals training."""

    prompt: str | list[dict[str, str]]
    response: str
    scores: dict[str, float]


class Manifest(_Stored):
    """The artifact's own account of itself; immutable once published."""

    format: Literal[1] = 1
    kind: ArtifactKind
    name: str
    version: int
    created_at: datetime
    job: str | None
    recipe: dict[str, Any]
    recipe_digest: str
    parents: list[Parent]
    data_digest: str | None
    data_counts: dict[str, dict[str, int]] = {}
    """Of ``training`` and ``held_out`` each: ``rows`` that could be read, those ``skipped`` because they could not, and
    of the rows those ``left_out`` as too long and the texts ``truncated``. Empty where nothing was counted."""
    code_version: str
    metrics: dict[str, float]
    details: dict[str, Any]
    """What a loader of this kind needs: architecture, pooling, layer, mask, orientation, template hash, ..."""
    probes: list[Probe]
    files: dict[str, str]
    """Relative path to sha256, for every file but the manifest itself."""


@dataclass(frozen=True)
class Artifact:
    """A published artifact whose manifest was read; call ``verify`` before trusting its files."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def reference(self) -> str:
        """``name@version``, which names this very artifact for ever."""
        return f"{self.name}@{self.version}"

    @cached_property
    def digest(self) -> str:
        """sha256 of the manifest, which in turn holds the sha256 of every file."""
        return hashlib.sha256((self.path / MANIFEST_FILE).read_bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Size of its files on disk."""
        return sum(file.stat().st_size for file in _files(self.path))

    def as_parent(self, role: str) -> Parent:
        return Parent(role=role, name=self.name, version=self.version, digest=self.digest)

    def verify(self) -> None:
        """Check every file against the manifest; raises BrokenArtifact naming the first that differs."""
        present = {str(file.relative_to(self.path)) for file in _files(self.path)}
        for relative, expected in self.manifest.files.items():
            if relative not in present:
                raise BrokenArtifact(f"{self.reference}: {relative} is missing; publish or import it again")
            if _sha256(self.path / relative) != expected:
                raise BrokenArtifact(f"{self.reference}: {relative} was changed after publishing; import it again")
        if extra := present - self.manifest.files.keys():
            raise BrokenArtifact(f"{self.reference}: {min(extra)} is not in its manifest; remove it")


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

    def publish(self, name: str, contents: Contents, write: Callable[[Path], None]) -> Artifact:
        """Publish what ``write(directory)`` saves as the next version of ``name``.

        A job that publishes the same name again, because it was killed after publishing and resumed, gets the
        version it already made. Raises StorageFailure where the disk refuses and BrokenArtifact if ``write`` left
        pickled files; nothing is visible then.
        """
        check_name(name)
        if contents.job is not None:
            for existing in self.versions(name):
                if existing.manifest.job == contents.job:
                    return existing
        staging = self.root / STAGING_DIRECTORY / uuid.uuid4().hex
        with storage_errors(self.root):
            staging.mkdir(parents=True)
            try:
                _write(write, staging)
                _refuse_pickles(staging)
                files = {str(file.relative_to(staging)): _sha256(file) for file in _files(staging)}
                return self._rename_into_place(staging, name, contents, files)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def _rename_into_place(self, staging: Path, name: str, contents: Contents, files: dict[str, str]) -> Artifact:
        while True:
            number = max(self._version_numbers(name), default=0) + 1
            manifest = Manifest(
                name=name,
                version=number,
                created_at=datetime.now(UTC),
                code_version=code_version(),
                files=files,
                **{name: getattr(contents, name) for name in Contents.__dataclass_fields__},
            )
            (staging / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
            sync_tree(staging)
            target = self.root / name / str(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                staging.rename(target)
            except OSError:
                if target.exists():  # another process published this number first; take the next
                    continue
                raise
            sync_directory(target.parent)
            return Artifact(target, manifest)

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
            path = self.root / name / number
            if not path.is_dir():
                raise NotFound(f"no artifact {reference}; `assay artifacts list` shows what exists")
            return read_artifact(path)
        versions = self._version_numbers(name)
        if not versions:
            raise NotFound(f"no artifact {reference}; `assay artifacts list` shows what exists")
        return read_artifact(self.root / name / str(max(versions)))

    def versions(self, name: str) -> list[Artifact]:
        """All readable versions of ``name``, oldest first."""
        artifacts = []
        for number in sorted(self._version_numbers(name)):
            try:
                artifacts.append(read_artifact(self.root / name / str(number)))
            except BrokenArtifact:  # `verify` and `open` report it; it must not block a new version
                continue
        return artifacts

    def unreadable(self) -> list[BrokenArtifact]:
        """What is wrong with every version whose manifest cannot be read; `versions` and `all` leave those out."""
        broken = []
        for name in self._names():
            for number in sorted(self._version_numbers(name)):
                try:
                    read_artifact(self.root / name / str(number))
                except BrokenArtifact as error:
                    broken.append(error)
        return broken

    def all(self) -> list[Artifact]:
        """Every readable artifact, by name and version."""
        return [artifact for name in self._names() for artifact in self.versions(name)]

    def delete(self, reference: str) -> None:
        """Remove one version for good. Raises InvalidInput without a version, Conflict while others descend from it."""
        if "@" not in reference:
            raise InvalidInput(f"deleting needs a version, as in {reference}@1")
        artifact = self.open(reference)
        for other in self.all():
            if any(
                (parent.name, parent.version) == (artifact.name, artifact.version) for parent in other.manifest.parents
            ):
                raise Conflict(f"{reference} is a parent of {other.reference}; delete that first")
        with storage_errors(self.root):
            grave = self.root / STAGING_DIRECTORY / uuid.uuid4().hex
            grave.parent.mkdir(parents=True, exist_ok=True)
            artifact.path.rename(grave)
            shutil.rmtree(grave)

    def _version_numbers(self, name: str) -> list[int]:
        directory = self.root / name
        if not directory.is_dir():
            return []
        return [int(child.name) for child in directory.iterdir() if child.is_dir() and child.name.isdigit()]

    def _names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        found = set()
        for manifest in self.root.glob(f"*/**/{MANIFEST_FILE}"):
            relative = manifest.parent.relative_to(self.root)
            if relative.parts[0] != STAGING_DIRECTORY and relative.name.isdigit():
                found.add(str(relative.parent))
        return sorted(found)


def read_artifact(path: Path) -> Artifact:
    """Read the manifest of an artifact directory. Raises BrokenArtifact if it is absent or unreadable."""
    file = path / MANIFEST_FILE
    try:
        found = file.stat()
    except OSError:
        raise BrokenArtifact(
            f"{path} has no {MANIFEST_FILE}: it was never published; delete it or import it again"
        ) from None
    return _read(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=1024)  # a server opens the same few artifacts with every request
def _read(path: Path, state: tuple[int, int, int]) -> Artifact:
    """The artifact in ``path``; ``state`` differs where its manifest was put in the place of another."""
    file = path / MANIFEST_FILE
    try:
        return Artifact(path, Manifest.model_validate(json.loads(file.read_bytes())))
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise BrokenArtifact(f"{file} is not a manifest of this format ({first}); import the artifact again") from error


def _write(write: Callable[[Path], None], staging: Path) -> None:
    from safetensors import SafetensorError

    try:
        write(staging)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(str(error)) from error


def _files(path: Path) -> Iterator[Path]:
    return (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST_FILE)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _refuse_pickles(path: Path) -> None:
    for file in _files(path):
        if file.suffix in _PICKLES:
            raise BrokenArtifact(
                f"{file.name} is a pickle, which runs code when opened; save the weights as safetensors instead"
            )


def refuse_pickled_weights(path: Path) -> None:
    """Raises BrokenArtifact if a model directory holds pickled weights, or none in safetensors at all."""
    _refuse_pickles(path)
    if not any(file.suffix == ".safetensors" for file in _files(path)):
        raise BrokenArtifact(f"{path} holds no .safetensors weights; save the model with safe serialization")


def names_directory(reference: str) -> bool:
    """Whether a reference in a recipe is a directory rather than an artifact's name, whatever lies around here."""
    return reference.startswith((".", "/", "~"))

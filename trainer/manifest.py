"""A published artifact: what it says of itself, and that its files are what it says."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import BrokenArtifact
from trainer.files import sha256_of

ArtifactKind = Literal["policy", "reward_model", "discriminator"]
Contrast = Literal["prompts", "responses"]
"""What two scored pairs differ in while the other half is the same."""

PARENTS_READ: Mapping[ArtifactKind, tuple[str, ...]] = {
    "policy": ("reference",),
    "reward_model": (),
    "discriminator": ("reference", "policy"),
}
"""Roles of the parents that an artifact of a kind is loaded with; the others are told for the record."""

MANIFEST_FILE = "manifest.json"


@cache
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
    size_bytes: int | None = None
    """Of all these files together; None in manifests older than this field."""


@dataclass(frozen=True)
class Artifact:
    """A published artifact whose manifest was read; call ``verify`` before trusting its files."""

    directory: Path
    manifest: Manifest
    digest: str
    """sha256 of the manifest, which in turn holds the sha256 of every file."""
    fetch: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    """Brings the files into ``directory``, for an artifact of which only the manifest may be here."""

    fetch_one: Callable[[str], Path] | None = field(default=None, compare=False, repr=False)
    """Brings one file, and says in which directory."""

    def directory_with(self, relative: str) -> Path:
        """A directory with this file, and perhaps without the others."""
        if self.fetch_one is not None and not self.directory.is_dir():
            return self.fetch_one(relative)
        return self.path

    @property
    def path(self) -> Path:
        """The directory with its files, which are fetched first where they are not here yet."""
        if self.fetch is not None:
            self.fetch()
        return self.directory

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

    @property
    def size_bytes(self) -> int:
        """Size of its files; of those here where its manifest is too old to say."""
        told = self.manifest.size_bytes
        return sum(file.stat().st_size for file in files_of(self.directory)) if told is None else told

    def as_parent(self, role: str) -> Parent:
        return Parent(role=role, name=self.name, version=self.version, digest=self.digest)

    def copy_files(self, directory: Path, *, but: str | None = None) -> None:
        """Copy its files, without the manifest and the one called ``but``, into ``directory``."""
        path = self.path
        for file in self.manifest.files.keys() - {but}:
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path / file, directory / file)

    def verify(self) -> None:
        """Check every file against the manifest; raises BrokenArtifact naming the first that differs."""
        path = self.path
        present = {str(file.relative_to(path)) for file in files_of(path)}
        for relative, expected in self.manifest.files.items():
            if relative not in present:
                raise BrokenArtifact(f"{self.reference}: {relative} is missing; publish or import it again")
            if sha256_of(path / relative) != expected:
                raise BrokenArtifact(f"{self.reference}: {relative} was changed after publishing; import it again")
        if extra := present - self.manifest.files.keys():
            raise BrokenArtifact(f"{self.reference}: {min(extra)} is not in its manifest; remove it")


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
        content = file.read_bytes()
        return Artifact(path, Manifest.model_validate(json.loads(content)), hashlib.sha256(content).hexdigest())
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise BrokenArtifact(f"{file} is not a manifest of this format ({first}); import the artifact again") from error


def files_of(path: Path) -> Iterator[Path]:
    """All files of an artifact's directory but the manifest, sorted."""
    return (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST_FILE)

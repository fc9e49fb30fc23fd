"""Artifacts in object storage, for machines that share no disk; a directory here holds copies of what was opened.

    <url>/artifacts/<name>/<version>/manifest.json     written last, once: a version exists if and only if this does
    <url>/artifacts/<name>/<version>/deleted           the manifest of what had a number, which is never given again
    <url>/files/<sha256>/<copy>                        what manifests name, whichever and however many

Files are found by their content, so writers cannot harm each other, an upload that broke off is continued by the next
one, and nothing of it is visible meanwhile. A copy is written once and never again, so what ``collect`` has found to be
old and named by no manifest stays so until it is removed.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from trainer.artifacts import STAGING_DIRECTORY, ArtifactStore
from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound
from trainer.files import storage_errors, sync_tree, write_atomically
from trainer.manifest import MANIFEST_FILE, PARENTS_READ, Artifact, Manifest, read_artifact
from trainer.object_storage import Bucket, Stored, download_files, upload_files
from trainer.staging import staged, staged_as

MARKER_FILE = ".shared"
"""In a directory of copies, says of what."""
KEPT_UNNAMED = timedelta(days=7)
"""How long a file is kept that no manifest names: from its upload, for what it is part of may be under way, and from
the deletion of the last version that named it, for somebody may be reading that."""

_MANIFESTS = ".manifests"
_ARTIFACTS = "artifacts"
_FILES = "files"
_DELETED = "deleted"
_FRESH_SECONDS = 2.0


def open_artifacts(root: Path, url: str | None) -> ArtifactStore:
    """The artifacts in ``root``, or with a ``url`` those of an object store, of which ``root`` holds copies.

    Raises InvalidInput for a directory that holds other artifacts than those.
    """
    marker = root / MARKER_FILE
    copied = marker.read_text(encoding="utf-8").strip() if marker.is_file() else None
    if url is None:
        if copied is not None:
            raise InvalidInput(
                f"{root} holds copies of {copied}: set ASSAY_STORAGE_URL to it, or use another directory"
            )
        return ArtifactStore(root)
    bucket = Bucket(url)
    if copied is None:
        if ArtifactStore(root).names():
            raise InvalidInput(
                f"{root} holds artifacts of its own: `assay artifacts share` sends them to {url}; or use another one"
            )
        write_atomically(marker, f"{bucket.url}\n")
    elif copied != bucket.url:
        raise InvalidInput(f"{root} holds copies of {copied}; use another directory for those of {bucket.url}")
    return SharedArtifactStore(root, bucket)


def share(root: Path, url: str) -> list[str]:
    """Send every artifact of ``root`` to an object store, under the version it has, and make ``root`` a directory of
    copies; return the references that were not there yet.

    Raises BrokenArtifact for files that were changed, Conflict where the store has another artifact under a number.
    """
    here, store = ArtifactStore(root), SharedArtifactStore(root, Bucket(url))
    store.check_writable()
    if broken := here.unreadable():
        raise broken[0]
    sent = []
    for artifact in here.all():
        artifact.verify()
        if store.send(artifact.directory, artifact.manifest):
            sent.append(artifact.reference)
        elif not store.is_same(artifact.directory, artifact.manifest):
            raise Conflict(f"{url} has or had another {artifact.reference}; import this one under another name")
    write_atomically(root / MARKER_FILE, f"{store.bucket.url}\n")
    return sent


class SharedArtifactStore(ArtifactStore):
    """Artifacts of an object store. What others publish or delete is seen within two seconds, but for one thing: an
    exact version that is here opens without asking, also once it was deleted elsewhere, until the next list is made."""

    def __init__(self, root: Path, bucket: Bucket) -> None:
        super().__init__(root)
        self.bucket = bucket
        self._lock = threading.Lock()
        self._listed: tuple[float, dict[str, dict[int, dict[str, Stored]]]] | None = None

    def __reduce__(self) -> tuple[Callable[..., ArtifactStore], tuple[Path, str]]:
        """Where work travels to, the store is opened anew: locks and connections stay here."""
        return open_artifacts, (self.root, self.bucket.url)

    def check_writable(self) -> None:
        """Raises StorageFailure now where the directory or the store takes nothing, or lets a number be taken twice."""
        super().check_writable()
        self.bucket.check()

    def send(self, directory: Path, manifest: Manifest) -> bool:
        """Upload a complete directory and let its manifest take its number; False where that is or was taken."""
        wanted = {relative: manifest.files[relative] for relative in sorted(manifest.files)}
        while True:
            began = datetime.now(UTC)
            upload_files(self.bucket, _FILES, directory, wanted, newer_than=began - KEPT_UNNAMED / 2)
            if datetime.now(UTC) - began < KEPT_UNNAMED / 2:  # else what came first may have been collected
                break
        key = _key(manifest.name, manifest.version)
        if not self.bucket.create(key, (directory / MANIFEST_FILE).read_bytes()):
            return False
        # a marker comes before its manifest goes: if this name was free because a version was deleted, it shows now
        if self._is_deleted(manifest.name, manifest.version):
            self.bucket.remove([key])
            return False
        return True

    def is_same(self, directory: Path, manifest: Manifest) -> bool:
        """Whether the version that has this number is this very one."""
        name, number = manifest.name, manifest.version
        same = self.bucket.read(_key(name, number)) == (directory / MANIFEST_FILE).read_bytes()
        return same and not self._is_deleted(name, number)

    def bring(self, artifact: Artifact) -> None:
        """See ArtifactStore."""
        for parent in artifact.manifest.parents:
            if parent.role in PARENTS_READ[artifact.manifest.kind]:
                with suppress(NotFound):  # loading says so, if it needs it
                    _ = self.open(f"{parent.name}@{parent.version}").path
        _ = artifact.path

    def collect(self) -> int:
        """Remove copies that are old and whose content no manifest names, nor that of a version deleted lately; and of
        several old ones of one content all but the newest. Return how many.

        A publisher uses young copies and makes a new one where there is none, so nobody comes to need an old one.
        """
        before = datetime.now(UTC) - KEPT_UNNAMED
        self.bucket.drop_broken_off(before)
        old: dict[str, list[tuple[datetime, str]]] = {}
        for key, stored in self.bucket.find(_FILES).items():
            sha256, _, copy = key.removeprefix(f"{_FILES}/").partition("/")
            if copy and stored.modified < before:
                old.setdefault(sha256, []).append((stored.modified, key))
        # the manifests after the files: who found a copy young enough to use has published by now
        named: set[str] = set()
        for name, numbers in self._list(fresh=True).items():
            for number, things in numbers.items():
                named |= self._files_named(name, number, things, before)
        unneeded = [
            key for sha256, copies in old.items() for _, key in sorted(copies)[: -1 if sha256 in named else None]
        ]
        self.bucket.remove(unneeded)
        return len(unneeded)

    def _files_named(self, name: str, number: int, things: dict[str, Stored], before: datetime) -> set[str]:
        """The sha256 of the files of a version, or of what it was if it was deleted after ``before``."""
        if _DELETED not in things:
            with suppress(NotFound):  # deleted meanwhile
                return set(self._read(name, number).manifest.files.values())
        elif MANIFEST_FILE in things:  # whoever deleted it was killed
            self.bucket.remove([_key(name, number)])
        if _DELETED in things and things[_DELETED].modified < before:
            return set()
        content = self.bucket.read(_key(name, number, _DELETED))
        return set(json.loads(content)["files"].values()) if content else set()

    def _is_deleted(self, name: str, number: int) -> bool:
        return self.bucket.stat(_key(name, number, _DELETED)) is not None

    def _next_number(self, name: str) -> int:
        return max(self._list(fresh=True).get(name, {}), default=0) + 1

    def _place(self, staging: Path, manifest: Manifest) -> bool:
        if not self.send(staging, manifest) and not self.is_same(staging, manifest):
            return False
        self._listed = None
        super()._place(staging, manifest)  # unless somebody here has fetched it already
        return True

    def _remove(self, name: str, number: int) -> None:
        key = _key(name, number)
        self.bucket.create(_key(name, number, _DELETED), self.bucket.read(key) or b"")
        self.bucket.remove([key])
        self._listed = None
        self._forget(name, number)

    def _forget(self, name: str, number: int) -> None:
        """Remove the copy of what was deleted."""
        shutil.rmtree(self._manifest_alone(name, number), ignore_errors=True)
        directory = self._directory(name, number)
        if directory.is_dir():
            with storage_errors(self.root), staged(self.root / STAGING_DIRECTORY) as grave:
                directory.rename(grave)

    def _manifest_alone(self, name: str, number: int) -> Path:
        """Where the manifest is kept of an artifact whose files may not be here."""
        return self.root / _MANIFESTS / name / str(number)

    def _has(self, name: str, number: int) -> bool:
        if super()._has(name, number) or number in self._version_numbers(name):
            return True
        # published a moment ago
        return self.bucket.stat(_key(name, number)) is not None and not self._is_deleted(name, number)

    def _read(self, name: str, number: int) -> Artifact:
        directory = self._directory(name, number)
        if (directory / MANIFEST_FILE).is_file():
            return read_artifact(directory)
        alone = self._manifest_alone(name, number)
        if not (alone / MANIFEST_FILE).is_file():
            content = self.bucket.read(_key(name, number))
            if content is None:
                raise NotFound(f"no artifact {name}@{number}; `assay artifacts list` shows what exists")
            write_atomically(alone / MANIFEST_FILE, content.decode("utf-8"))
        found = read_artifact(alone)
        fetch, fetch_one = partial(self._fetch, found), partial(self._fetch_one, found)
        return Artifact(directory, found.manifest, found.digest, fetch, fetch_one)

    def _fetch_one(self, found: Artifact, relative: str) -> Path:
        """Download one file beside the manifest, for somebody who needs no more."""
        if (sha256 := found.manifest.files.get(relative)) is not None:
            with storage_errors(self.root), staged(self.root / STAGING_DIRECTORY) as staging:
                download_files(self.bucket, _FILES, {relative: sha256}, staging)
                (found.directory / relative).parent.mkdir(parents=True, exist_ok=True)
                (staging / relative).replace(found.directory / relative)
        return found.directory

    def _fetch(self, found: Artifact) -> None:
        """Download an artifact whose manifest is here, once, whoever else on this machine wants it too."""
        target = self._directory(found.name, found.version)
        if target.is_dir():
            return
        manifest = found.manifest
        with storage_errors(self.root), staged_as(self.root / STAGING_DIRECTORY, f"fetch-{found.digest}") as staging:
            if target.is_dir():
                shutil.rmtree(staging)
                return
            try:
                download_files(self.bucket, _FILES, manifest.files, staging)
            except BrokenArtifact as error:
                raise BrokenArtifact(f"{found.reference}: {error.detail}; publish it again") from error
            shutil.copyfile(found.directory / MANIFEST_FILE, staging / MANIFEST_FILE)
            sync_tree(staging)
            super()._place(staging, manifest)

    def _version_numbers(self, name: str) -> list[int]:
        return [number for number, things in self._list().get(name, {}).items() if _DELETED not in things]

    def names(self) -> list[str]:
        """See ArtifactStore."""
        return sorted(name for name in self._list() if self._version_numbers(name))

    def _list(self, *, fresh: bool = False) -> dict[str, dict[int, dict[str, Stored]]]:
        """By name and number, which objects there are; as of two seconds ago at most."""
        with self._lock:
            if fresh or self._listed is None or time.monotonic() - self._listed[0] > _FRESH_SECONDS:
                began = time.monotonic()
                found: dict[str, dict[int, dict[str, Stored]]] = {}
                for key, stored in self.bucket.find(_ARTIFACTS).items():
                    _, *name, number, thing = key.split("/")
                    if number.isdigit() and thing in (MANIFEST_FILE, _DELETED):
                        found.setdefault("/".join(name), {}).setdefault(int(number), {})[thing] = stored
                self._drop_deleted(found)
                self._listed = (began, found)
            return self._listed[1]

    def _drop_deleted(self, found: dict[str, dict[int, dict[str, Stored]]]) -> None:
        for name, numbers in found.items():
            for number, things in numbers.items():
                if _DELETED in things and (super()._has(name, number) or self._manifest_alone(name, number).is_dir()):
                    self._forget(name, number)


def _key(name: str, number: int, thing: str = MANIFEST_FILE) -> str:
    return f"{_ARTIFACTS}/{name}/{number}/{thing}"

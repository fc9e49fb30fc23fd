"""Object storage by URL, as far as we need it: whole objects that appear at once, and one name taken once.

``s3://`` and ``gs://`` are reached through fsspec's own packages, ``file://`` is a directory that machines share. There
is no rename in a bucket, so nothing here relies on one: what must appear together is named by an object written last.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.errors import BrokenArtifact, InvalidInput, StorageFailure
from trainer.files import sha256_of, sync

_SCHEMES = ("s3", "gs", "file")
_PARTIAL = ".partial-"
_ATTEMPTS = 3
_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts to create what another creates at the same moment."""


@dataclass(frozen=True)
class Stored:
    """An object that exists."""

    size: int
    modified: datetime


class Bucket:
    """Objects below one URL, named by keys relative to it.

    Every method may be called from any thread and raises StorageFailure where the store does not do as it is told.
    """

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for a URL of no kind that is known here, or one whose package is missing."""
        scheme, separator, path = url.partition("://")
        if not separator or scheme not in _SCHEMES or not path.strip("/"):
            raise InvalidInput(
                f"storage {url!r}: write {', '.join(f'{each}://' for each in _SCHEMES)} and a place there"
            )
        self.url = url.rstrip("/")
        self._is_file = scheme == "file"
        self._root = path.rstrip("/")

    @cached_property
    def _system(self) -> Any:  # noqa: ANN401 - fsspec has no types
        from fsspec.core import url_to_fs

        try:
            system, _ = url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            raise InvalidInput(f"storage {self.url}: {error}; pip install 'reward-assay[object-storage]'") from error
        return system

    def create(self, key: str, content: bytes) -> bool:
        """Write an object whose name nobody has taken yet, whole or not at all; False where it was taken.

        Of several that try at the same moment one succeeds. Sent twice because an answer was lost, it may be False
        though the object is ours: read it.
        """
        with self._told(f"create {key}"):
            if self._is_file:
                return self._create_file(Path(self._at(key)), content)
            for seconds in (*_WAITS, None):
                try:
                    self._system.pipe_file(self._at(key), content, mode="create")
                except FileExistsError:
                    return False
                except OSError as error:
                    if seconds is None or not _met_another(error):
                        raise
                    time.sleep(seconds)
                else:
                    break
            return True

    def replace(self, key: str, content: bytes) -> None:
        """Write an object, whether there is one of that name or not."""
        with self._told(f"write {key}"):
            if self._is_file:
                self._replace_file(Path(self._at(key)), lambda path: path.write_bytes(content))
            else:
                self._system.pipe_file(self._at(key), content)

    def read(self, key: str, *, last: int | None = None) -> bytes | None:
        """The content of an object, or its last so many bytes; None where there is none."""
        with self._told(f"read {key}"):
            try:
                # asked of the store first: it refuses a range of an object that is empty
                size = 0 if last is None else int(self._system.info(self._at(key))["size"])
                start = size - last if last is not None and size > last else None
                content: bytes = self._system.cat_file(self._at(key), start=start)
            except FileNotFoundError:
                return None
            return content

    def upload(self, file: Path, key: str) -> None:
        """Copy a file; the object is there once all of it is."""
        with self._told(f"write {key}"):
            if self._is_file:
                self._replace_file(Path(self._at(key)), lambda path: self._system.put_file(str(file), str(path)))
            else:
                self._system.put_file(str(file), self._at(key))

    def download(self, key: str, file: Path) -> None:
        """Copy an object to a file; what a broken connection leaves of it is not removed."""
        with self._told(f"read {key}"):
            self._system.get_file(self._at(key), str(file))

    def find(self, prefix: str) -> dict[str, Stored]:
        """Every object whose key begins with ``prefix/``, by key; where there is none, that of the very name."""
        with self._told(f"list {prefix}"):
            try:
                found: Mapping[str, Mapping[str, Any]] = self._system.find(self._at(prefix), detail=True)
            except FileNotFoundError:
                return {}
            return {
                self._key(path): _stored(entry)
                for path, entry in found.items()
                if _PARTIAL not in path.rpartition("/")[2]
            }

    def stat(self, key: str) -> Stored | None:
        """Size and age of an object, None where there is none."""
        with self._told(f"read {key}"):
            try:
                return _stored(self._system.info(self._at(key)))
            except FileNotFoundError:
                return None

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, those that are gone already included."""
        paths = [self._at(key) for key in keys]
        with self._told("remove objects"):
            for path in paths:
                try:
                    self._system.rm_file(path)
                except FileNotFoundError:
                    continue

    def drop_broken_off(self, before: datetime) -> None:
        """Remove the invisible parts of uploads that began before then and never ended, where the store keeps them."""
        with self._told("remove uploads that broke off"):
            if self._is_file:
                for path in Path(self._root).rglob(f"{_PARTIAL}*"):
                    if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                        path.unlink(missing_ok=True)
            elif self.url.startswith("s3://"):
                bucket, _, prefix = self._root.partition("/")
                for upload in self._system.list_multipart_uploads(bucket):
                    if upload["Key"].startswith(prefix) and upload["Initiated"] < before:
                        self._system.call_s3(
                            "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )

    def check(self) -> None:
        """Raises StorageFailure where nothing can be written, or where a name can be taken twice."""
        key = f".check/{uuid.uuid4().hex}"
        taken_twice = self.create(key, b"") and self.create(key, b"")
        self.remove([key])
        if taken_twice:
            raise StorageFailure(
                f"{self.url} lets two writers take one name (it ignores If-None-Match), so two could publish the same"
                " version; use a store that does not"
            )

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _key(self, path: str) -> str:
        root = self._root.lstrip("/")
        return path.lstrip("/").removeprefix(f"{root}/")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (InvalidInput, StorageFailure):
            raise
        except Exception as error:  # the packages of different stores share no class of errors
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StorageFailure(
                f"{self.url} does not {what}: {reason}; check the place, the credentials and the connection"
            ) from error

    @staticmethod
    def _create_file(path: Path, content: bytes) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{_PARTIAL}{uuid.uuid4().hex}")
        try:
            partial.write_bytes(content)
            sync(partial)
            os.link(partial, path)  # unlike a rename it does not replace what is there
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)
        return True

    @staticmethod
    def _replace_file(path: Path, write: Callable[[Path], object]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{_PARTIAL}{uuid.uuid4().hex}")
        try:
            write(partial)
            sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)


def upload_files(bucket: Bucket, prefix: str, root: Path, files: Mapping[str, str], *, newer_than: datetime) -> None:
    """Have a copy of every file of ``files`` (relative to ``root``, with its sha256) stored below ``prefix/sha256``.

    One that was written after ``newer_than`` does; else another is made under a name of its own, for whoever removes
    the old one may have looked already. An object ``prefix/sha256`` itself, as there once were, is removed by nobody.
    """
    for relative, sha256 in files.items():
        key, size = f"{prefix}/{sha256}", (root / relative).stat().st_size
        copies = bucket.find(key)
        if not any(
            copies[each].size == size and (each == key or copies[each].modified > newer_than) for each in copies
        ):
            bucket.upload(root / relative, f"{key}/{uuid.uuid4().hex}")


def download_files(bucket: Bucket, prefix: str, files: Mapping[str, str], into: Path) -> None:
    """Bring files to ``into``, each of ``prefix/sha256`` or the newest copy below it; those there already with the
    right content stay.

    Raises BrokenArtifact for one that is missing or not what its digest says, however often it is asked for.
    """
    for relative, sha256 in files.items():
        file = into / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file() and sha256_of(file) == sha256:
            continue
        for attempt in range(_ATTEMPTS):
            copies = bucket.find(f"{prefix}/{sha256}")
            if not copies:
                raise BrokenArtifact(f"{bucket.url}/{prefix}/{sha256}, which holds {relative}, is missing")
            key = max(copies, key=lambda each: copies[each].modified)
            bucket.download(key, file)
            if sha256_of(file) == sha256:
                break
            if attempt == _ATTEMPTS - 1:
                raise BrokenArtifact(f"{bucket.url}/{key}, which holds {relative}, is not what its digest says")


def _met_another(error: OSError) -> bool:
    """Whether S3 says 409: of writers at the same moment it has not decided yet who takes the name; ask again."""
    answer: Mapping[str, Any] = getattr(error.__cause__, "response", None) or {}
    return bool(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 409)


def _stored(entry: Mapping[str, Any]) -> Stored:
    modified = entry.get("LastModified") or entry.get("updated") or entry.get("mtime")
    if isinstance(modified, str):  # of Google's
        modified = datetime.fromisoformat(modified)
    elif isinstance(modified, int | float):  # of a file
        modified = datetime.fromtimestamp(modified, UTC)
    return Stored(size=int(entry["size"]), modified=modified or datetime.fromtimestamp(0, UTC))

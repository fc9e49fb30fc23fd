"""A directory as a tar archive, made while it is sent."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 2**20


def tar_of(directory: Path) -> Iterator[bytes]:
    """The archive's bytes, in order: regular files only, by name, relative to ``directory``."""
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        entry = tarfile.TarInfo(str(file.relative_to(directory)))
        entry.size = file.stat().st_size
        yield entry.tobuf()
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK_BYTES):
                yield chunk
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)

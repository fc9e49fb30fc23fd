"""The ``assay`` command. Each family of commands is a file here; whatever is heavy is imported when it runs."""

from service.cli.program import main

__all__ = ["main"]

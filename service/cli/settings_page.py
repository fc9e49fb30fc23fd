"""docs/settings.md: every setting as its class says it. ``python -m service.cli.settings_page`` prints it."""

import ast
import sys
from collections.abc import Iterator
from inspect import getsource
from itertools import pairwise

from service.settings import Settings

COMMAND = "python -m service.cli.settings_page > docs/settings.md"

_HEAD = """# Settings

What an operator decides, as variables of the environment. This page is made by
`{command}`, and a test compares it with the code.
All commands read the same variables; an option of a command goes before its variable. Several values are divided by
commas. A server says at its start which variables look like a misspelt setting. An empty variable is as one that is not
set, except for the database, where it is refused.

What follows from them: [running a server](operations.md), [memory for models](serving.md#the-scoring-engine),
[monitoring](monitoring.md). What trainers and clients read (`ASSAY_URL`, `ASSAY_API_KEY`, `ASSAY_SCORER`,
`ASSAY_ON_OVERLONG`) is in [rewards for other trainers](integrations.md#trainers).

| variable | unless set | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """The page, in Markdown."""
    said = dict(_documented())
    rows = [
        f"| `ASSAY_{name.upper()}` | {_default(field.default)} | {said[name]} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD.format(command=COMMAND) + "\n".join(rows) + "\n"


def _documented() -> Iterator[tuple[str, str]]:
    """Of every field the sentences under it."""
    (settings,) = ast.parse(getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    for field, under in pairwise(settings.body):
        match field, under:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                yield name, " ".join(said.split()).replace("``", "`").replace("|", r"\|")


def _default(value: object) -> str:
    if value is None or value in {(), ""}:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(settings_page())

"""Where in a JSON document something is wrong, as RFC 6901 writes it."""

from collections.abc import Sequence
from typing import Any


def json_pointer(path: Sequence[str | int]) -> str:
    """RFC 6901: ``["items", 0, "a/b"]`` is ``/items/0/a~1b``."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def error_pointer(error: Any, content: Any, *, skip: int = 0) -> str:  # noqa: ANN401 - pydantic's dictionary, any JSON
    """Pointer into ``content``, as it was sent, to what an item of pydantic's ``errors()`` is about.

    Leaves out the first ``skip`` parts of its path, and the names that pydantic gives to members of a union.
    """
    path = error["loc"][skip:]
    found: list[str | int] = []
    for position, part in enumerate(path):
        is_inside = (isinstance(content, dict) and part in content) or (
            isinstance(content, list) and isinstance(part, int) and part < len(content)
        )
        if is_inside:
            content = content[part]
        elif error["type"] != "missing" or position < len(path) - 1:
            continue
        found.append(part)
    return json_pointer(found)


def pointer_by_kind(error: Any, content: Any) -> str:  # noqa: ANN401 - pydantic's dictionary, any JSON
    """As ``error_pointer``, of one of several models told apart by ``kind``.

    Pydantic's path begins with the kind, which may be the name of a field as well, as of ``ppo`` and its ``ppo``.
    """
    named = isinstance(content, dict) and tuple(error["loc"][:1]) == (content.get("kind"),)
    return error_pointer(error, content, skip=int(named))

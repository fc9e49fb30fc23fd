"""Cursors: where the next page of a list begins, in a form nobody is tempted to make up."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from service.db.records import Page
from trainer.errors import InvalidInput

Item = TypeVar("Item")
Row = TypeVar("Row")
_VERSION = re.compile(r"(.+)@([1-9][0-9]{0,8})")

DEFAULT_LIMIT = 100
MAX_LIMIT = 500


Key = str | int | list[str]
"""What a list is ordered by; the parts of a composite key as texts."""


def encode_cursor(key: Key) -> str:
    """The cursor after the item with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, kind: type[Item]) -> Item:
    """The key in a cursor. Raises InvalidInput for what ``encode_cursor`` did not make from such a key."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        json.dumps(key, ensure_ascii=False).encode()  # half a surrogate pair is in no key
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidInput("cursor: not one this list gave; start without it") from error
    if not isinstance(key, kind) or (isinstance(key, int) and abs(key) >= 2**63):
        raise InvalidInput("cursor: belongs to another list; start without it")
    return key


def page_of(rows: Sequence[Row], limit: int, key: Callable[[Row], Key], convert: Callable[[Row], Item]) -> Page[Item]:
    """A page from up to ``limit + 1`` rows: the one too many only tells that there is more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(data=[convert(row) for row in shown], next=encode_cursor(key(shown[-1])) if more else None)


def check_limit(limit: int) -> int:
    """Raises InvalidInput outside 1..500."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit: {limit} is outside 1..{MAX_LIMIT}")
    return limit


def after_key(
    query: "Select[*tuple[Any, ...]]",
    key: InstrumentedAttribute[int] | InstrumentedAttribute[str],
    cursor: str | None,
    limit: int,
) -> "Select[*tuple[Any, ...]]":
    """``query`` in the order of ``key``, beginning after the cursor, one row more than asked for."""
    if cursor is not None:
        query = query.where(key > decode_cursor(cursor, key.type.python_type))
    return query.order_by(key).limit(check_limit(limit) + 1)


class Versioned(Protocol):
    """A version of an artifact, or what is told of one."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...


Version = TypeVar("Version", bound=Versioned)


def versions_page(
    found: Iterable[Version], convert: Callable[[Version], Item], *, cursor: str | None, limit: int
) -> Page[Item]:
    """A page of versions that come by name and version. Raises InvalidInput for a bad cursor."""
    if cursor is not None:
        place = _VERSION.fullmatch(decode_cursor(cursor, str))
        if place is None:
            raise InvalidInput("cursor: belongs to another list; start without it")
        found = (each for each in found if (each.name, each.version) > (place[1], int(place[2])))
    return page_of(list(found), limit, lambda each: f"{each.name}@{each.version}", convert)

"""``assay keys``: who may use a server, and for what. They work on the database, where nobody needs a key."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import AsJson, DatabaseUrl
from service.cli.printing import note, print_json, print_table, say
from service.security.keys import SCOPES, Key, Quota
from service.wording import ago

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_PerMinute = Annotated[
    int | None, typer.Option(min=1, max=10**12, help="At most so many a minute; without bound unless said.")
]


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="keys", help="Who may use a server, and for what.")
    for command in (create, revoke):
        family.command()(command)
    family.command("list")(list_keys)
    return family


def create(
    name: Annotated[str, typer.Option(help="Whose it is, or what for.")],
    scope: Annotated[list[str], typer.Option(help=f"{', '.join(SCOPES)}; may be given several times.")] = ["read"],  # noqa: B006 - typer copies it
    expires_days: Annotated[
        float | None, typer.Option(min=0, max=36_500, help="Days until it ends; never unless said.")
    ] = None,
    requests_per_minute: _PerMinute = None,
    pairs_per_minute: _PerMinute = None,
    tokens_per_minute: _PerMinute = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and show it, once. From the first one on, every server of this database asks for a key."""
    from service.db.keys import create_key

    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    quota = Quota(requests_per_minute, pairs_per_minute, tokens_per_minute)
    with _writing(database_url) as session:
        text, key = create_key(session, name, scope, quota=quota, expires_at=expires_at)  # type: ignore[arg-type]
    if as_json:
        print_json({"key": text, **_facts(key)})
        return
    say(text)
    note("this is shown once: keep it where secrets are kept. Send it as `Authorization: Bearer KEY`")


def list_keys(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List keys by what is visible of them."""
    from service.db import keys

    with _writing(database_url) as session:
        found = keys.list_keys(session)
    if as_json:
        print_json({"data": [_facts(key) for key in found]})
        return
    rows = [
        (
            key.id,
            f"{key.prefix}_...",
            key.name,
            " ".join(scope for scope in SCOPES if scope in key.scopes),
            key.ended() or "in use",
            ago(key.last_used_at) if key.last_used_at else "never",
        )
        for key in found
    ]
    print_table(("id", "key", "name", "scopes", "state", "last used"), rows)


def revoke(
    key: Annotated[str, typer.Argument(help="Its id, its visible beginning or its name.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """End a key for good. Running servers notice within seconds."""
    from service.db.keys import revoke_key

    with _writing(database_url) as session:
        ended = revoke_key(session, key)
    if as_json:
        print_json(_facts(ended))
        return
    say(f"key {ended.prefix} ({ended.name}) is revoked")


@contextmanager
def _writing(database_url: str | None) -> "Iterator[Session]":
    from service.database import open_database
    from service.db.session import sessions, writing
    from service.settings import load_settings

    with open_database(load_settings(database_url=database_url)) as engine, writing(sessions(engine)) as session:
        yield session


def _facts(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": [scope for scope in SCOPES if scope in key.scopes],
        "requests_per_minute": key.quota.requests,
        "pairs_per_minute": key.quota.pairs,
        "tokens_per_minute": key.quota.tokens,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }

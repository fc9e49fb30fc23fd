"""Keys in the database: made, listed, revoked and found again by their prefix."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from service.db.ids import new_id
from service.db.tables import ApiKey
from service.security.keys import SCOPES, Key, Quota, Scope, digest_of, new_key
from trainer.errors import Conflict, InvalidInput, NotFound


def create_key(
    session: Session,
    name: str,
    scopes: Collection[Scope],
    *,
    quota: Quota | None = None,
    expires_at: datetime | None = None,
) -> tuple[str, Key]:
    """The key itself, which nobody can show again, and what is kept of it. Raises InvalidInput."""
    if not name.isprintable() or not name.strip() or len(name) > 100:
        raise InvalidInput("a key's name is 1 to 100 printable characters")
    if not scopes or (unknown := set(scopes) - set(SCOPES)):
        found = f"no scope {', '.join(sorted(unknown))}" if scopes else "a key needs a scope"
        raise InvalidInput(f"{found}; use {', '.join(SCOPES)}")
    now = datetime.now(UTC)
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("the key would have expired already")
    quota = quota or Quota()
    text, prefix = new_key()
    row = ApiKey(
        id=new_id("key"),
        name=name,
        prefix=prefix,
        digest=digest_of(text),
        scopes=sorted(scopes, key=SCOPES.index),
        requests_per_minute=quota.requests,
        pairs_per_minute=quota.pairs,
        tokens_per_minute=quota.tokens,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return text, _record(row)


def list_keys(session: Session) -> list[Key]:
    """Every key there ever was, oldest first."""
    return [_record(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.id))]


def any_key(session: Session) -> bool:
    """Whether a key was ever made: from then on one is needed, also when the last has ended."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def find_key(session: Session, prefix: str) -> Key | None:
    """The key of ``prefix``, whether or not it is still of use."""
    row = session.scalar(select(ApiKey).where(ApiKey.prefix == prefix))
    return None if row is None else _record(row)


def revoke_key(session: Session, which: str) -> Key:
    """End a key for good, by its id, prefix or, where only one key in use has it, name.

    Raises NotFound, or Conflict where several keys have that name.
    """
    named = select(ApiKey).where(
        or_(ApiKey.id == which, ApiKey.prefix == which, (ApiKey.name == which) & ApiKey.revoked_at.is_(None))
    )
    rows = session.scalars(named).all()
    if not rows:
        raise NotFound(f"no key {which}; `assay keys list` shows them")
    if len(rows) > 1:
        raise Conflict(f"{len(rows)} keys are called {which}; revoke one by its id, which `assay keys list` shows")
    rows[0].revoked_at = rows[0].revoked_at or datetime.now(UTC)
    session.flush()
    return _record(rows[0])


def touch_key(session: Session, key_id: str, when: datetime) -> None:
    """Note that a key was used."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=when))


def _record(row: ApiKey) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        digest=row.digest,
        scopes=frozenset(row.scopes),
        quota=Quota(row.requests_per_minute, row.pairs_per_minute, row.tokens_per_minute),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )

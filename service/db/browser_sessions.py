"""Sessions of browsers in the database: opened for a key, found again by the cookie, closed."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.db import clock
from service.db.tables import ApiKey, BrowserSession
from service.security.keys import Key, digest_of
from service.security.sessions import LIFETIME_SECONDS, new_session


def open_session(session: Session, key: Key, now: datetime | None = None) -> str:
    """A new cookie for ``key``, of which only the digest is kept. Those that have expired are forgotten."""
    now = now or clock.now(session)
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now))
    cookie = new_session()
    expires_at = now + timedelta(seconds=LIFETIME_SECONDS)
    session.add(BrowserSession(digest=digest_of(cookie), key_id=key.id, expires_at=expires_at))
    session.flush()
    return cookie


def prefix_of_session(session: Session, cookie: str) -> str | None:
    """The prefix of the key that ``cookie`` was made for; None where it was not made here, has expired or is closed."""
    found = (
        select(ApiKey.prefix)
        .join(BrowserSession, BrowserSession.key_id == ApiKey.id)
        .where(BrowserSession.digest == digest_of(cookie), BrowserSession.expires_at > clock.now(session))
    )
    return session.scalar(found)


def close_session(session: Session, cookie: str) -> None:
    """Forget ``cookie``; harmless where it is not known."""
    session.execute(delete(BrowserSession).where(BrowserSession.digest == digest_of(cookie)))

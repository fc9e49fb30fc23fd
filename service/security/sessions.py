"""The dashboard's session: a cookie that a key's owner gets for the key, so that a browser need not keep the key.

It is as random as a key and only its digest is stored, so whoever reads the database or an export of it cannot make
one. It lets its holder do what the key allows, and change something only from the dashboard's own pages:
``service.access`` asks the browser which page a request came from.
"""

import re
import secrets

COOKIE = "assay_session"
LIFETIME_SECONDS = 12 * 3600
_SECRET_BYTES = 32
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")


def new_session() -> str:
    """The cookie's value."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def looks_like_session(cookie: str) -> bool:
    """Whether it is worth asking the database for ``cookie``."""
    return _SESSION.fullmatch(cookie) is not None

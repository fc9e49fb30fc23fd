"""The dashboard's session: a cookie that a key's owner gets for the key, so that a browser need not keep the key.

It is signed with the key's digest, so that every process that knows the key can check it, a restart ends no session,
and revoking the key ends them all. It lets its holder do what the key allows, and change something only from the
dashboard's own pages: ``service.access`` asks the browser which page a request came from.
"""

import hashlib
import hmac
import time

from service.security.keys import Key

COOKIE = "assay_session"
LIFETIME_SECONDS = 12 * 3600


def new_session(key: Key, now: float | None = None) -> str:
    """The cookie's value: prefix, time of expiry and signature."""
    expires = int((time.time() if now is None else now) + LIFETIME_SECONDS)
    return f"{key.prefix}.{expires}.{_signature(key, expires)}"


def session_prefix(cookie: str) -> str | None:
    """Which key a cookie claims to be of; None where it is no such cookie."""
    parts = cookie.split(".")
    return parts[0] if len(parts) == 3 and len(cookie) < 200 else None


def is_session(cookie: str, key: Key, now: float | None = None) -> bool:
    """Whether ``cookie`` was made for ``key`` and has not expired."""
    _, expires, signature = cookie.split(".")
    if not (expires.isascii() and expires.isdecimal()) or not signature.isascii():
        return False
    if not hmac.compare_digest(signature, _signature(key, int(expires))):
        return False
    return int(expires) > (time.time() if now is None else now)


def _signature(key: Key, expires: int) -> str:
    message = f"dashboard session {key.prefix} {expires}".encode()
    return hmac.new(bytes.fromhex(key.digest), message, hashlib.sha256).hexdigest()

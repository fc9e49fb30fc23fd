"""API keys: a long random secret of which only a digest is kept, what it may do, and how much of it."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

Scope = Literal["read", "score", "train", "admin"]
"""``read`` looks at jobs, results and pages; ``score`` scores; ``train`` submits recipes and changes jobs; ``admin``
does all of these and deletes."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX_HEX = 12
_SECRET_BYTES = 32
_KEY = re.compile(rf"(assay_[0-9a-f]{{{_PREFIX_HEX}}})_[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True)
class Quota:
    """What a key may ask for in a minute; None is without bound."""

    requests: int | None = None
    pairs: int | None = None
    """Pairs times scorers."""
    tokens: int | None = None
    """Of scored pairs, in each scorer's own tokens."""


@dataclass(frozen=True)
class Key:
    """A key as the database knows it: everything but the key."""

    id: str
    name: str
    prefix: str
    """Its visible beginning."""
    digest: str
    scopes: frozenset[str]
    quota: Quota
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def allows(self, scope: Scope) -> bool:
        """Whether it may do what needs ``scope``; ``admin`` implies all."""
        return scope in self.scopes or "admin" in self.scopes

    def ended(self, now: datetime | None = None) -> str | None:
        """Why it is of no use any more, or None."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC)):
            return f"expired at {self.expires_at.isoformat(timespec='seconds')}"
        return None

    def is_of(self, text: str) -> bool:
        """Whether ``text`` is this key, in a time that does not tell how nearly."""
        return hmac.compare_digest(digest_of(text), self.digest)


def new_key() -> tuple[str, str]:
    """A key, to be shown once, and its prefix, by which it is known for ever."""
    prefix = f"assay_{secrets.token_hex(_PREFIX_HEX // 2)}"
    return f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}", prefix


def prefix_of(text: str) -> str | None:
    """The prefix of what looks like a key, else None."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None


def without_keys(text: str) -> str:
    """The text with each key in it cut to its prefix."""
    return _KEY.sub(r"\1_...", text)


def digest_of(text: str) -> str:
    """sha256 in hexadecimal. The secret has 256 random bits: a slow hash, made for passwords, would add nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

"""A key is 256 random bits: its digest is kept, its beginning is visible, and the rest is known to its owner only."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.security.keys import Key, Quota, digest_of, new_key, prefix_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def make(text: str = "assay_0123456789ab_" + "x" * 43, **changes: Any) -> Key:
    facts: dict[str, Any] = {
        "id": "key_1",
        "name": "somebody",
        "prefix": prefix_of(text),
        "digest": digest_of(text),
        "scopes": frozenset({"read"}),
        "quota": Quota(),
        "created_at": NOW,
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
    }
    return Key(**{**facts, **changes})


def test_a_key_has_a_visible_beginning_and_43_secret_characters() -> None:
    text, prefix = new_key()

    assert text.startswith(f"{prefix}_")
    assert len(text) == len("assay_") + 12 + 1 + 43
    assert prefix_of(text) == prefix
    assert new_key()[0] != text


@pytest.mark.parametrize(
    "text", ["", "assay_", "Bearer x", "assay_0123456789ab_short", "assay_0123456789ab_" + "\ud800" * 43]
)
def test_what_is_not_shaped_like_a_key_has_no_prefix(text: str) -> None:
    assert prefix_of(text) is None


def test_only_the_whole_key_is_the_key() -> None:
    text = "assay_0123456789ab_" + "x" * 43
    key = make(text)

    assert key.is_of(text)
    assert not key.is_of(text[:-1] + "y")
    assert not key.is_of(key.digest)
    assert text not in repr(key)


def test_admin_may_do_everything_and_others_what_they_say() -> None:
    assert make(scopes=frozenset({"admin"})).allows("train")
    assert make(scopes=frozenset({"train"})).allows("train")
    assert not make(scopes=frozenset({"train", "score", "read"})).allows("admin")


def test_a_key_ends_at_its_expiry_and_when_it_is_revoked() -> None:
    assert make().ended(NOW) is None
    assert make(expires_at=NOW + timedelta(seconds=1)).ended(NOW) is None
    assert make(expires_at=NOW).ended(NOW) == "expired at 2030-01-01T00:00:00+00:00"
    assert make(revoked_at=NOW).ended(NOW) == "was revoked"

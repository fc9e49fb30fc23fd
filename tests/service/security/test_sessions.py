"""A session is signed for one key, ends by itself, and cannot be made from what is visible."""

from datetime import UTC, datetime

from service.security.keys import Key, Quota, digest_of
from service.security.sessions import LIFETIME_SECONDS, is_session, new_session, session_prefix


def key_of(text: str, prefix: str) -> Key:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return Key("key_1", "me", prefix, digest_of(text), frozenset({"read"}), Quota(), now, None, None, None)


OURS, THEIRS = key_of("ours", "assay_aaaaaaaaaaaa"), key_of("theirs", "assay_bbbbbbbbbbbb")


def test_a_session_is_of_its_key_until_it_expires() -> None:
    cookie = new_session(OURS, now=1000.0)

    assert session_prefix(cookie) == OURS.prefix
    assert is_session(cookie, OURS, now=1000.0 + LIFETIME_SECONDS - 1)
    assert not is_session(cookie, OURS, now=1000.0 + LIFETIME_SECONDS)
    assert not is_session(cookie, THEIRS, now=1000.0)


def test_a_session_cannot_be_lengthened_or_made_up() -> None:
    prefix, expires, signature = new_session(OURS, now=1000.0).split(".")

    assert not is_session(f"{prefix}.{int(expires) + 1}.{signature}", OURS, now=1000.0)
    assert not is_session(f"{prefix}.{expires}.{OURS.digest}", OURS, now=1000.0)
    assert not is_session(f"{prefix}.{expires}.é", OURS, now=1000.0)
    assert not is_session(f"{prefix}.².{signature}", OURS, now=1000.0)
    assert session_prefix("a.b") is None
    assert session_prefix("a.b." + "c" * 500) is None

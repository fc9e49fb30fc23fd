"""Keys are stored as digests, found by prefix and ended once."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from service.db.keys import any_key, create_key, find_key, list_keys, revoke_key, touch_key
from service.db.session import writing
from service.security.keys import Quota
from trainer.errors import Conflict, InvalidInput, NotFound


def test_a_key_is_found_again_and_is_nowhere_in_the_database(make_session: sessionmaker[Session]) -> None:
    with make_session() as session:
        assert not any_key(session)
    expires = datetime(2100, 1, 1, tzinfo=UTC)
    with writing(make_session) as session:
        secret, made = create_key(session, "ci", ["train", "read"], quota=Quota(requests=5), expires_at=expires)

    with make_session() as session:
        assert any_key(session)
        assert list_keys(session) == [made] == [find_key(session, made.prefix)]
        row = str(session.execute(text("SELECT * FROM api_keys")).one())
    assert made.is_of(secret)
    assert (made.scopes, made.quota, made.expires_at) == ({"read", "train"}, Quota(requests=5), expires)
    assert secret not in row
    assert secret.removeprefix(made.prefix + "_") not in row


def test_keys_are_revoked_by_id_prefix_or_a_name_that_only_one_has(make_session: sessionmaker[Session]) -> None:
    with writing(make_session) as session:
        first, second, third = (create_key(session, name, ["read"])[1] for name in ("a", "b", "b"))
        with pytest.raises(Conflict, match="2 keys are called b"):
            revoke_key(session, "b")
        assert revoke_key(session, second.id).ended() == "was revoked"
        assert revoke_key(session, "b").id == third.id
        assert revoke_key(session, first.prefix).id == first.id
        with pytest.raises(NotFound, match="assay keys list"):
            revoke_key(session, "nobody")
    with make_session() as session:
        assert any_key(session), "a server whose keys have all ended stays closed"


def test_the_last_use_is_noted(make_session: sessionmaker[Session]) -> None:
    when = datetime(2030, 1, 1, tzinfo=UTC)
    with writing(make_session) as session:
        _, key = create_key(session, "a", ["read"])
        touch_key(session, key.id, when)

    with make_session() as session:
        found = find_key(session, key.prefix)
    assert found is not None
    assert found.last_used_at == when


def test_what_makes_no_key(make_session: sessionmaker[Session]) -> None:
    with writing(make_session) as session:
        with pytest.raises(InvalidInput, match="no scope root"):
            create_key(session, "a", ["root"])  # type: ignore[list-item]
        with pytest.raises(InvalidInput, match="needs a scope"):
            create_key(session, "a", [])
        with pytest.raises(InvalidInput, match="printable"):
            create_key(session, "a\nb", ["read"])
        with pytest.raises(InvalidInput, match="expired already"):
            create_key(session, "a", ["read"], expires_at=datetime.now(UTC) - timedelta(seconds=1))

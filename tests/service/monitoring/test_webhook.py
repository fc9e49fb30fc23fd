"""The webhook hears of every alert once, signed, however long it was away."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.monitored import Crossed, settle_alerts
from service.db.session import writing
from service.db.tables import Alert
from service.monitoring.webhook import SIGNATURE_HEADER, signature, tell
from service.settings import Settings
from tests.loopback import Handler, serving

Sessions = sessionmaker[Session]
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CROSSED = Crossed("trust", "rm@3:score", "judge", 0.2, 0.3, "r pooled with judge: lower end 0.20")


@dataclass
class Receiver:
    """Remembers what it was sent; answers ``status``."""

    address: str = ""
    heard: list[tuple[dict[str, Any], bytes, str | None]] = field(default_factory=list)
    status: int = 204


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Receiving(Handler):
        def post(self, body: bytes) -> None:
            told.heard.append((json.loads(body), body, self.headers.get(SIGNATURE_HEADER)))
            self.reply(told.status)

    with serving(Receiving) as told.address:
        yield told


@pytest.fixture
def told(settings: Settings, receiver: Receiver) -> Settings:
    return settings.model_copy(
        update={
            "monitor_webhook": f"{receiver.address}/hook",
            "monitor_webhook_secret": SecretStr("s3cret"),
        }
    )


def settle(make_session: Sessions, *, crossed: bool, at: datetime) -> None:
    with writing(make_session) as session:
        settle_alerts(session, [CROSSED] if crossed else [], [] if crossed else [CROSSED.key], at)


def test_an_alert_is_told_once_when_it_is_raised_and_once_when_it_is_cleared(
    make_session: Sessions, told: Settings, receiver: Receiver
) -> None:
    settle(make_session, crossed=True, at=NOW)
    for _ in range(2):
        tell(make_session, told, NOW)
    settle(make_session, crossed=False, at=NOW + timedelta(hours=1))
    for _ in range(2):
        tell(make_session, told, NOW + timedelta(hours=1))
    (first, body, signed), (second, _, _) = receiver.heard
    assert (first["state"], first["lower"], first["threshold"], first["cleared_at"]) == ("raised", 0.2, 0.3, None)
    assert (second["state"], second["id"]) == ("cleared", first["id"])
    assert signed == signature(body, "s3cret")
    # the HMAC that `printf '{}' | openssl dgst -sha256 -hmac s3cret` prints
    assert signature(b"{}", "s3cret") == "sha256=adbde1ce40c89c14215687d5d762a47df6dfaefcfad61e2e86718ffc8498571b"


def test_a_webhook_that_is_down_is_tried_again_after_ever_longer(
    make_session: Sessions, told: Settings, receiver: Receiver
) -> None:
    settle(make_session, crossed=True, at=NOW)
    receiver.status = 500
    for seconds in (0, 9, 10, 29, 30):  # waits are 10 s, then 20 s, then 40 s
        tell(make_session, told, NOW + timedelta(seconds=seconds))
    assert len(receiver.heard) == 3
    receiver.status = 200
    tell(make_session, told, NOW + timedelta(seconds=70))
    tell(make_session, told, NOW + timedelta(seconds=200))
    assert len(receiver.heard) == 4
    with make_session() as session:
        assert session.scalars(select(Alert.told)).one() == "raised"


def test_an_address_where_nobody_listens_fails_nothing_and_is_not_logged(
    make_session: Sessions, told: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settle(make_session, crossed=True, at=NOW)
    tell(make_session, told.model_copy(update={"monitor_webhook": "http://127.0.0.1:9/token"}), NOW)
    assert "was not told" in caplog.text
    assert "token" not in caplog.text


def test_what_was_cleared_before_anybody_could_be_told_is_not_told(
    make_session: Sessions, told: Settings, receiver: Receiver
) -> None:
    settle(make_session, crossed=True, at=NOW)
    settle(make_session, crossed=False, at=NOW)
    tell(make_session, told, NOW)
    assert receiver.heard == []


def test_while_one_server_tells_the_others_do_not(make_session: Sessions, told: Settings, receiver: Receiver) -> None:
    from service.db.monitored import take_untold

    settle(make_session, crossed=True, at=NOW)
    with writing(make_session) as session:
        assert take_untold(session, NOW, timedelta(seconds=60)) is not None
    tell(make_session, told, NOW)
    assert receiver.heard == []
    tell(make_session, told, NOW + timedelta(seconds=61))  # the first one died meanwhile
    assert len(receiver.heard) == 1


def test_without_an_address_nobody_is_told(make_session: Sessions, settings: Settings) -> None:
    settle(make_session, crossed=True, at=NOW)
    tell(make_session, settings, NOW)
    with make_session() as session:
        assert session.scalars(select(Alert.attempts)).one() == 0

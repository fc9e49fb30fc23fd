"""Tell an address of the operator's that an alert was raised or cleared, until it has heard."""

import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy.orm import Session, sessionmaker

from service.db.monitored import take_untold
from service.db.session import writing
from service.db.tables import Alert
from service.monitoring.alerts import record_of
from service.settings import Settings

SIGNATURE_HEADER = "x-assay-signature"

_TIMEOUT_SECONDS = 5.0
_HOLD = timedelta(seconds=60)
_FIRST_WAIT_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 3600.0
_MOST_AT_ONCE = 20


def tell(make_session: sessionmaker[Session], settings: Settings, now: datetime | None = None) -> None:
    """Post what has not been told; what fails is tried again later, each time after twice as long."""
    if settings.monitor_webhook is None:
        return
    for _ in range(_MOST_AT_ONCE):
        at = now or datetime.now(UTC)
        with writing(make_session) as session:
            alert = take_untold(session, at, _HOLD)
        if alert is None:
            return
        state = "raised" if alert.cleared_at is None else "cleared"
        heard = _post(settings, alert, at)
        with writing(make_session) as session:
            row = session.get_one(Alert, alert.id)
            if heard:
                row.told, row.attempts = state, 0
            else:
                wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(alert.attempts - 1, 20))
                row.tell_after = at + timedelta(seconds=wait)
        if not heard:
            return


def signature(body: bytes, secret: str) -> str:
    """``sha256=`` and the HMAC of the body, for the receiver to compare."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _post(settings: Settings, alert: Alert, at: datetime) -> bool:
    content = {**record_of(alert).model_dump(mode="json"), "sent_at": at.isoformat()}
    body = json.dumps(content).encode()
    headers = {"content-type": "application/json"}
    if settings.monitor_webhook_secret is not None:
        headers[SIGNATURE_HEADER] = signature(body, settings.monitor_webhook_secret.get_secret_value())
    try:
        answer = httpx.post(str(settings.monitor_webhook), content=body, headers=headers, timeout=_TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = type(error).__name__  # its text may hold the address, and that a secret
    else:
        if answer.is_success:
            return True
        reason = f"status {answer.status_code}"
    logging.getLogger(__name__).warning("monitoring: the webhook was not told of %s (%s)", alert.id, reason)
    return False

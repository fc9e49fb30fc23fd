"""The server's log: each request and whatever is worth a word, as lines for people or as JSON for programs.

What a request carries never gets here: neither headers nor bodies nor queries, so neither keys nor texts. The words of
an unexpected exception do, as nobody could mend it without them; whatever looks like a key is cut from them.
"""

import contextlib
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from starlette.requests import Request

from service.middleware import Finished
from service.security.keys import without_keys

ACCESS = logging.getLogger("assay.access")
_FIELDS = "fields"


def log_request(over: Finished) -> None:
    """One line for one request."""
    caller = over.scope["state"].get("caller")
    key = getattr(getattr(caller, "key", None), "prefix", None)
    fields = {
        "method": over.method,
        "path": over.path,
        "status": over.status,
        "seconds": round(over.seconds, 6),
        "client": over.client,
        "key": key,
        "request_id": over.request_id,
    }
    level = logging.ERROR if over.status >= 500 else logging.INFO
    words = "%(method)s %(path)r %(status)s in %(seconds).3f s for %(client)s, key %(key)s, request %(request_id)s"
    ACCESS.log(level, words, fields, extra={_FIELDS: fields})


def log_failure(request: Request, error: Exception) -> None:
    """What nobody expected, with its traceback and the id of the request that met it."""
    request_id = request.scope.get("state", {}).get("request_id", "")
    fields = {"method": request.method, "path": request.url.path, "request_id": request_id}
    words = "%(method)s %(path)r failed unexpectedly, request %(request_id)s"
    logging.getLogger(__name__).error(words, fields, exc_info=error, extra={_FIELDS: fields})


class OncePerException(logging.Filter):
    """Lets the first word on each exception through: the server under the application logs again what it was told."""

    _SEEN = "__assay_logged__"

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about no exception, or about one that was not logged before."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        seen = hasattr(error, self._SEEN)
        with contextlib.suppress(AttributeError):  # of a class with slots, which is then told twice
            setattr(error, self._SEEN, True)
        return not seen


class Lines(logging.Formatter):
    """Text for people."""

    def format(self, record: logging.LogRecord) -> str:
        return without_keys(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and a request's facts where it is about one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_keys(json.dumps(line))


def set_up_logging(form: Literal["text", "json"]) -> None:
    """Send the log of this process to standard error. For servers; a library would leave it to its user.

    As text it tells people of requests that failed; as JSON it tells programs of all of them.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(OncePerException())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    ACCESS.setLevel(logging.INFO if form == "json" else logging.ERROR)

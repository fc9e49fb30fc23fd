"""The server's log: each request and whatever is worth a word, as lines for people or as JSON for programs.

What a request carries never gets here: neither headers nor bodies nor queries, so neither keys nor texts.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from service.middleware import Finished

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
        return json.dumps(line)


def set_up_logging(form: Literal["text", "json"]) -> None:
    """Send the log of this process to standard error. For servers; a library would leave it to its user.

    As text it tells people of requests that failed; as JSON it tells programs of all of them.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    ACCESS.setLevel(logging.INFO if form == "json" else logging.ERROR)

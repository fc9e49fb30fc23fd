"""An OpenAI-compatible server, asked for chat completions with patience and told apart from one that says no.

The key is read from the environment when a request is made, sent in its header, and kept nowhere.
"""

import json
import os
import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from trainer.errors import InvalidInput, RunFailed

KEY_VARIABLE, SERVER_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
"""As every client of this protocol names them. The key goes to the server that the second names, and to no other:
a recipe, which others may have written, says whom to ask, and must not say who gets the key."""
OPENAI = "https://api.openai.com/v1"
"""The server that is meant where the environment names none."""

_LONGEST_WAIT_SECONDS = 60.0
_SILENCES = 3
_ASK_AGAIN = frozenset({408, 409, 425, 429})
_DENIED = frozenset({401, 403, 404})


class Refused(RunFailed):
    """The server says no to this request, and would again."""


class Unanswered(RunFailed):
    """No answer came however often it was asked; it may come another day."""


class Denied(Unanswered):
    """The server answers nothing of the kind until a key, a model's name or an address is put right."""


class ChatServer:
    """One server and how often to ask it. Any number of threads may ask, within a ``with``, of which there may be many.

    A server that leaves several requests in a row unanswered, each asked as often as allowed, is given up: what is
    asked after that fails at once.
    """

    def __init__(self, base_url: str, *, timeout_seconds: float, attempts: int) -> None:
        """``base_url`` ends before ``/chat/completions``."""
        self.base_url = check_base_url(base_url)
        self._attempts = attempts
        self._timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 10.0))
        self._http: httpx.Client | None = None
        self._silences = 0
        self._given_up: Unanswered | None = None

    def __enter__(self) -> "ChatServer":
        self._http = httpx.Client(timeout=self._timeout)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._http is not None
        self._http.close()
        self._http = None

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The chat completion that ``body`` asks for.

        Transport errors, 5xx, 429 and replies that are no chat completion are asked again after an exponential wait
        with full jitter, or after what ``Retry-After`` says. Raises Refused, Unanswered or Denied.
        """
        if self._given_up is not None:
            raise self._given_up
        try:
            reply = self._complete(body)
        except Unanswered as error:
            self._silences += 1  # threads may lose a count, which costs a question more
            if self._silences >= _SILENCES or isinstance(error, Denied):
                self._given_up = error
            raise
        self._silences = 0
        return reply

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        assert self._http is not None
        sent = json.dumps(body).encode()  # in ASCII: httpx's own JSON has no form for a lone surrogate
        wait, said = 0.0, ""
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(wait)
            # full jitter: those who were turned away together must not come back together
            wait = random.uniform(0, min(_LONGEST_WAIT_SECONDS, 2.0**attempt))
            try:
                response = self._http.post(f"{self.base_url}/chat/completions", content=sent, headers=self._headers())
            except httpx.HTTPError as error:
                said = type(error).__name__
                continue
            if response.is_success:
                if (reply := _completion(response)) is not None:
                    return reply
                said = "an answer that is no chat completion"
                continue
            said = self._said(response)
            if response.status_code in _DENIED:
                raise Denied(
                    f"{self.base_url} answers {said}; check {KEY_VARIABLE}, which is sent to"
                    f" {SERVER_VARIABLE} alone, the model's name and base_url"
                )
            if response.status_code < 500 and response.status_code not in _ASK_AGAIN:
                raise Refused(f"{self.base_url} answers {said}")
            asked = _retry_after(response)
            if asked is not None and asked > _LONGEST_WAIT_SECONDS:
                raise Unanswered(f"{self.base_url} answers {said} and asks to wait {asked:.0f} s")
            wait = asked if asked is not None else wait
        raise Unanswered(f"{self.base_url} gave no answer in {self._attempts} attempts; the last: {said}")

    def check(self) -> None:
        """Raises InvalidInput where nobody listens or the key is not welcome; costs nothing."""
        assert self._http is not None
        try:
            response = self._http.get(f"{self.base_url}/models", headers=self._headers())
        except httpx.HTTPError as error:
            raise InvalidInput(
                f"{self.base_url} cannot be reached ({type(error).__name__}); start the server or correct base_url"
            ) from error
        if response.status_code in {401, 403}:
            raise InvalidInput(
                f"{self.base_url} answers {self._said(response)}; set {KEY_VARIABLE}, and"
                f" {SERVER_VARIABLE} to this address"
            )

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        key, its_server = os.environ.get(KEY_VARIABLE), os.environ.get(SERVER_VARIABLE) or OPENAI
        if key and its_server.rstrip("/") == self.base_url:
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _said(self, response: httpx.Response) -> str:
        """Status and first words of a refusal, without the key that some servers repeat."""
        text = " ".join(response.text[:2000].split())
        if key := os.environ.get(KEY_VARIABLE):
            text = text.replace(key, "(key)")
        return f"{response.status_code} {text[:200]}".strip()


def check_base_url(base_url: str) -> str:
    """``base_url`` without its last slash. Raises ValueError for anything but http(s), where it holds a password, and
    where its path climbs: whoever allows an address by its beginning means what lies below it."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("base_url is an address such as http://127.0.0.1:8001/v1")
    if parts.username or parts.password or {"?", "#"} & set(base_url):
        raise ValueError(f"base_url must hold no secret; put the key into {KEY_VARIABLE}")
    if {".", ".."} & set(unquote(parts.path).replace("\\", "/").split("/")):
        raise ValueError("base_url is to say its path without . and ..")
    return base_url.rstrip("/")


def _completion(response: httpx.Response) -> dict[str, Any] | None:
    """The body, if it is a chat completion."""
    try:
        body = response.json()
        message = body["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return body if isinstance(message, dict) else None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds (RFC 9110, section 10.2.3: a number of seconds, or a date)."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())

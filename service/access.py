"""Who asks, and may they: every route declares what it needs, and whoever lacks it is refused.

```python
router = APIRouter(prefix="/v1", dependencies=[needs("read", changes="admin")])
```

Keys are needed from the first one that is made, for good. Before that nobody needs one.
"""

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from service.keyring import Keyring
from service.middleware import matched_route
from service.security.keys import SCOPES, Key, Scope, prefix_of
from service.security.sessions import COOKIE, looks_like_session
from trainer.errors import AssayError, Forbidden, Unauthenticated

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_ADMITTED = "admitted"
_HOW = "send a key as `Authorization: Bearer KEY` or `x-api-key: KEY`; `assay keys create` makes one"


@dataclass(frozen=True)
class Caller:
    """Who sent a request: the owner of a key, somebody who needs none (``free``), or nobody known."""

    key: Key | None = None
    free: bool = False
    by_session: bool = False
    """A browser that showed the dashboard's cookie in place of the key."""
    refusal: AssayError | None = None
    """Why nothing is done for them, whatever they ask."""


NOBODY = Caller()


class Identify:
    """Finds out who sends a request before anything of its body is read; what they may do is for the routes to say."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            try:
                caller = await _caller(request)
            except AssayError as error:
                caller = Caller(refusal=error)
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


async def _caller(request: Request) -> Caller:
    state = request.app.state
    if state.owner:
        return Caller(free=True)
    keyring: Keyring = state.keyring
    if not await keyring.needed():
        return _without_keys(request)
    if (text := sent_key(request)) is not None:
        # a browser repeats an address's password by itself, whoever makes it ask
        if text == _key_of_address(request) and (refusal := _from_elsewhere(request)) is not None:
            return Caller(refusal=refusal)
        return Caller(key=await known_key(keyring, text))
    cookie = request.cookies.get(COOKIE, "")
    if looks_like_session(cookie):
        key = await keyring.of_session(cookie)
        if key is not None and key.ended() is None:
            return Caller(key=key, by_session=True)
    return NOBODY


def sent_key(request: Request) -> str | None:
    """The key a request carries in its headers."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if (text := request.headers.get("x-api-key")) is not None:
        return text
    # of an address with a password, all that some trainers can be told; any other is of a proxy before us
    return _key_of_address(request)


def _key_of_address(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    password = _password(token.strip()) if scheme.lower() == "basic" else ""
    return password if prefix_of(password) is not None else None


def _password(credentials: str) -> str:
    """Of Basic authentication (RFC 7617); nothing where there is none."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


async def known_key(keyring: Keyring, text: str) -> Key:
    """The key that ``text`` is. Raises Unauthenticated, never repeating what was sent."""
    prefix = prefix_of(text)
    key = None if prefix is None else await keyring.find(prefix)
    if key is None or not key.is_of(text):
        raise Unauthenticated(f"this key is not known here; {_HOW}")
    if (reason := key.ended()) is not None:
        raise Unauthenticated(f"key {key.prefix} {reason}; {_HOW}")
    return key


def _from_elsewhere(request: Request) -> Forbidden | None:
    """Why a change that a browser sends on behalf of another site's page is refused; None for any other request."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if request.method in _SAFE or site == "none" or (site is None and origin is None) or _from_our_page(request):
        return None
    if origin in request.app.state.settings.cors_origins:
        return None
    return Forbidden("a page of another site may not change anything here; make a key and send it")


def _from_our_page(request: Request) -> bool:
    """Whether a browser says that a page of this very server sent the request, and nothing beside it."""
    if (site := request.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    # over plain HTTP to another machine it is left out; the origin is sent with every change
    try:
        return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")
    except ValueError:  # such as http://[
        return False


def _without_keys(request: Request) -> Caller:
    """Somebody who needs no key, unless a page of another site sent them through a browser of this machine."""
    if (refusal := _from_elsewhere(request)) is not None:
        return Caller(refusal=refusal)
    if request.app.state.local_only and not is_loopback(request.url.hostname or ""):
        return Caller(refusal=Forbidden("without keys only this machine's own names are answered: ask 127.0.0.1"))
    return Caller(free=True)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """What a route needs; made by ``needs``."""

    def __init__(self, reading: Sequence[Scope], changing: Sequence[Scope], *, or_local: bool) -> None:
        self.reading = tuple(reading)
        """Scopes of which one is enough to GET."""
        self.changing = tuple(changing)
        """Likewise for every other method."""
        self._or_local = or_local

    async def __call__(
        self,
        request: Request,
        bearer: Annotated[object, Depends(HTTPBearer(auto_error=False, scheme_name="bearer"))],
        header: Annotated[object, Depends(APIKeyHeader(name="x-api-key", auto_error=False, scheme_name="x-api-key"))],
    ) -> None:
        """See ``admit``. The parameters describe keys in the API's document."""
        self.admit(request)

    def admit(self, request: Request) -> None:
        """Let the caller in, once a request. Raises Unauthenticated, Forbidden or QuotaExceeded."""
        admitted: set[Access] = request.scope["state"].setdefault(_ADMITTED, set())
        if self not in admitted:
            self._check(request)
            admitted.add(self)

    def _check(self, request: Request) -> None:
        caller = caller_of(request)
        if self._or_local and _from_this_machine(request):
            return
        if caller.refusal is not None:
            raise caller.refusal
        if caller.free:
            return
        if caller.key is None:
            raise Unauthenticated(_HOW)
        scopes = self.reading if request.method in _SAFE else self.changing
        if caller.by_session and request.method not in _SAFE and not _from_our_page(request):
            raise Forbidden("a session of the dashboard changes something from its own pages only; send the key itself")
        if not any(caller.key.allows(scope) for scope in scopes):
            has = ", ".join(scope for scope in SCOPES if scope in caller.key.scopes)
            raise Forbidden(f"this needs scope {' or '.join(scopes)}, and key {caller.key.prefix} has {has}")
        keyring: Keyring = request.app.state.keyring
        keyring.quotas.admit_request(caller.key)
        keyring.used(caller.key)


class Anyone:
    """What a route declares that is open to everybody."""

    async def __call__(self) -> None:
        """Nothing is asked."""


def needs(*scopes: Scope, changes: Scope | None = None, or_local: bool = False) -> Any:  # noqa: ANN401 - as Depends
    """For ``dependencies=[...]`` of a router or route: one of ``scopes``, and ``changes`` for other methods than GET.

    With ``or_local`` this machine itself needs no key, unless it sends for others as a proxy.
    """
    return Depends(Access(scopes, (changes,) if changes else scopes, or_local=or_local))


def anyone() -> Any:  # noqa: ANN401 - as Depends
    """For ``dependencies=[...]`` of a route that needs no key."""
    return Depends(Anyone())


def admit_before_body(request: Request) -> None:
    """What the matched route needs, asked before its body is read: FastAPI reads bodies before its dependencies.

    Raises as ``Access.admit``.
    """
    dependant = getattr(matched_route(request.scope), "dependant", None)
    for dependency in dependant.dependencies if dependant else ():
        if isinstance(dependency.call, Access):
            dependency.call.admit(request)


def may(request: Request, scope: Scope) -> bool:
    """Whether who asks would be let in where ``scope`` is needed: pages offer only what works."""
    caller = caller_of(request)
    return caller.free or (caller.key is not None and caller.key.allows(scope))


def caller_of(request: Request) -> Caller:
    """Who sent ``request``."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


def _from_this_machine(request: Request) -> bool:
    client = request.client
    forwarded = any(name in request.headers for name in _FORWARDED)
    local = client is not None and is_loopback(client.host) and is_loopback(request.url.hostname or "")
    return local and not forwarded

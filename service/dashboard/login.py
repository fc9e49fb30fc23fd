"""Logging in to the dashboard: a key is exchanged for a cookie that stands for it in a browser."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.access import anyone, known_key
from service.dashboard.posted import posted
from service.dashboard.rendering import failed, render
from service.keyring import Keyring
from service.security.sessions import COOKIE, LIFETIME_SECONDS, looks_like_session
from trainer.errors import InvalidInput, Unauthenticated

router = APIRouter(include_in_schema=False, dependencies=[anyone()])


@router.get("/login")
def login_page(request: Request, after: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Asks for a key."""
    return render(request, "login.html", after=_here(after), complaint=None)


@router.post("/login")
async def login(request: Request) -> Response:
    """Takes a key from the page's form, and leads on to where the browser wanted to go."""
    try:
        form = await posted(request)
    except InvalidInput as error:
        return failed(request, error)
    after = _here(form.get("next", ["/"])[0])
    keyring: Keyring = request.app.state.keyring
    try:
        key = await known_key(keyring, form.get("key", [""])[0].strip())
    except Unauthenticated:
        return render(request, "login.html", 401, after=after, complaint="This key is not known here, or has ended.")
    if not key.allows("read"):
        return render(request, "login.html", 403, after=after, complaint="This key lacks the scope read.")
    root = str(request.scope.get("root_path", "")).rstrip("/")
    answer = RedirectResponse(root + after, status_code=303)
    answer.set_cookie(
        COOKIE,
        await keyring.open_session(key),
        max_age=LIFETIME_SECONDS,
        path=root or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Ends the session, here and in the browser."""
    if looks_like_session(cookie := request.cookies.get(COOKIE, "")):
        await request.app.state.keyring.close_session(cookie)
    root = str(request.scope.get("root_path", "")).rstrip("/")
    answer = RedirectResponse(f"{root}/login", status_code=303)
    answer.delete_cookie(COOKIE, path=root or "/", httponly=True, samesite="strict")
    return answer


def _here(path: str) -> str:
    """``path`` if it is one of this server, else its first page: a link must not lead elsewhere by way of the login."""
    ours = path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isprintable() and path.isascii()
    return path if ours else "/"

"""From a template and values to a response: escaping, security headers, and links that survive a path prefix."""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy.orm import Session

from evaluation.wording import breakable, chance, interval, label, number, unbroken
from service.access import Caller
from service.dashboard.squares import squares
from service.dashboard.texts import visible
from service.dashboard.views import api_path
from service.errors import outcome_of
from service.problems import Problem
from service.wording import ago, count, duration, exact, size
from trainer.errors import AssayError
from trainer.manifest import code_version

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # plotly.js writes style elements and attributes
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401
    """The page ``template`` with ``values``; ``root`` in templates is the path prefix this server is mounted at."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    common = {"root": root, "asset": f"{root}/static", "stamp": stamp(), "in_session": caller and caller.by_session}
    page = _environment().get_template(template).render(common | values)
    return HTMLResponse(page, status_code=status, headers=HEADERS)


def answer(request: Request, page: Callable[[Session], Response]) -> Response:
    """What ``page`` makes of a session; an expected failure becomes a page too, since a browser asked."""
    try:
        with request.app.state.sessions() as session:
            return page(session)
    except AssayError as error:
        return failed(request, error)


def failed(request: Request, error: AssayError) -> Response:
    """The page that says what went wrong."""
    outcome = outcome_of(error)
    return _said(request, outcome.status, outcome.title, error.detail)


def problem_page(request: Request, problem: Problem, headers: dict[str, str]) -> Response:
    """The same, of what went wrong before a page was reached or while it was made."""
    page = _said(request, problem.status, problem.title, problem.detail)
    page.headers.update(headers)
    return page


def _said(request: Request, status: int, title: str, detail: str) -> Response:
    asked = request.scope.get("state", {}).get("request_id", "")
    return render(request, "error.html", status, title=title, detail=detail, failed_with=status, request_id=asked)


def back_to(request: Request, path: str) -> Response:
    """After a change: the browser reads ``path`` of this server, so that reloading repeats nothing."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return RedirectResponse(root + path, status_code=303)


def scripts_and_styles() -> list[Path]:
    """The pages' own, and the script that lays out figures here as in a report."""
    own = Path(str(files("service.dashboard") / "static"))
    return [*sorted(own.iterdir()), Path(str(files("evaluation") / "templates" / "laid_out.js"))]


@cache
def plotly_script() -> Path:
    """plotly.js as the plotly package brings it."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "breakable": breakable,
        "exact": exact,
        "number": number,
        "duration": duration,
        "prose": _prose,
        "size": size,
        "words": _words,
        "unbroken": unbroken,
        "visible": visible,
        "yaml": lambda value: yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
    }
    environment.globals |= {
        "interval": interval,
        "count": count,
        "label": label,
        "chance": chance,
        "squares": squares,
        "api_path": api_path,
    }
    return environment


def _prose(text: str) -> Markup:
    """A sentence in which `code` stands between backticks."""
    parts = re.split(r"`+([^`]+)`+", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


_SPELT = {"simpo": "SimPO", "llm_judge": "LLM judge", "ifeval": "IFEval"} | {
    name: name.upper() for name in ("sft", "ganpo", "gapo", "ppo", "dpo", "ipo", "kto", "orpo", "mlp", "mse")
}


def _words(name: str) -> str:
    """``product world`` for ``product_world``, ``sampled policy`` for ``SampledPolicy``, ``SFT`` for ``sft``."""
    return _SPELT.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


@cache
def stamp() -> str:
    """Changes when style, script or the release do, so that browsers may keep them for ever."""
    content = hashlib.sha256(code_version().encode())
    for file in scripts_and_styles():
        content.update(file.read_bytes())
    content.update(plotly_script().stat().st_mtime_ns.to_bytes(8))
    return content.hexdigest()[:12]

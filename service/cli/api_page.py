"""docs/api.md: the operations of the API's own description. ``python -m service.cli.api_page`` prints it."""

import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from service.access import Access
from service.errors import OUTCOMES
from service.security.keys import Scope
from trainer.errors import AssayError

COMMAND = "python -m service.cli.api_page > docs/api.md"

_METHODS = ("get", "post", "put", "delete")
_SECTIONS = {
    "scoring": "Scoring",
    "stress tests": "Stress tests",
    "audits": "Audits",
    "win rates": "Win rates",
    "benchmarks": "Benchmarks",
    "training jobs": "Training jobs",
    "artifacts": "Artifacts and aliases",
    "history": "History",
    "health": "Health",
    "compatible": "Formats of other servers",
}
"""Tags in the order of the page; others come after them under their own name."""

_HEAD = """# The API

Every operation, from the server's own description: `/openapi.json`, with parameters and bodies, which `/docs` shows.
This page is made by `{command}`, and a test compares it with the code.
A body of a job is a [recipe](training.md). Where there is GET there is HEAD, which answers with the same headers (of a
file or stream that is sent as it is made there is no `Content-Length`) and makes nothing of the body that it can spare.

## Keys

No key is needed until there is one; then it is sent as `Authorization: Bearer KEY` or `x-api-key: KEY`, and needs one
of the scopes in the table. `admin` may do everything. [Making keys.](operations.md#who-may-ask)

## Pages of a list

A list answers `{{"data": [...], "next": CURSOR}}`, newest first where it is about time. `limit` is 1 to 500. Send
`next` as `cursor` for the page after it; null is the end. A cursor names a place in the order, so what arrives
meanwhile shifts nothing. A query parameter that an operation does not read is 422: a misspelt filter would be none.

```sh
curl -s --fail-with-body 'http://127.0.0.1:8000/v1/stress-tests?limit=1'
```

## Problems

Whatever is refused is answered in `application/problem+json` (RFC 9457), with the fields
`type, title, status, detail, instance, code, errors, request_id`. `detail` says what to do, `errors` holds a JSON
pointer to each field at fault, `request_id` is in the server's log. Formats of other servers answer failures in their
original's form.

| status | `code` | when |
|---|---|---|
"""


def api_page(app: FastAPI) -> str:
    """The page, in Markdown."""
    document = app.openapi()
    scopes = _scopes(app)
    lines = [*_problems(), ""]
    for tag in _tags(document):
        lines += [f"## {_SECTIONS.get(tag, tag.capitalize())}", "", "| | | what it does | scope |", "|---|---|---|---|"]
        lines += [_row(method, path, operation, scopes) for method, path, operation in _operations(document, tag)]
        lines.append("")
    return _HEAD.format(command=COMMAND) + "\n".join(lines)


def _problems() -> Iterator[str]:
    kinds = [error for error in OUTCOMES if error is not AssayError]
    for error in sorted(kinds, key=lambda kind: (OUTCOMES[kind].status, kind.code)):
        outcome = OUTCOMES[error]
        said = " ".join((error.__doc__ or "").split("\n\n")[0].split())
        again = " With `Retry-After`." if outcome.retry_after_seconds else ""
        yield f"| {outcome.status} | `{error.code}` | {said}{again} |"


def _tags(document: dict[str, Any]) -> list[str]:
    found = {operation["tags"][0] for path in document["paths"].values() for operation in path.values()}
    return [tag for tag in _SECTIONS if tag in found] + sorted(found - _SECTIONS.keys())


def _operations(document: dict[str, Any], tag: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations and operations[method]["tags"][0] == tag:
                yield method, path, operations[method]


def _row(method: str, path: str, operation: dict[str, Any], scopes: dict[tuple[str, str], tuple[Scope, ...]]) -> str:
    said = operation.get("description", "").split("\n\n")[0]
    # a summary that was made of a function's name says less than its first sentence
    title = "" if operation["summary"].istitle() else f"{operation['summary']}. "
    told = " ".join(f"{title}{said}".split()).replace("|", r"\|")
    allowed = scopes[method, path]
    return f"| {method.upper()} | `{path}` | {told} | {' or '.join(f'`{scope}`' for scope in allowed) or 'open'} |"


def _scopes(app: FastAPI) -> dict[tuple[str, str], tuple[Scope, ...]]:
    """Of every operation the scopes of which one is enough; none where it is open."""
    found: dict[tuple[str, str], tuple[Scope, ...]] = {}
    for route in iter_route_contexts(app.routes):
        access = next((each.call for each in route.dependant.dependencies if isinstance(each.call, Access)), None)
        for method in route.methods or ():
            allowed = () if access is None else access.reading if method == "GET" else access.changing
            found[method.lower(), str(route.path_format)] = allowed
    return found


def main() -> None:
    """Print the page."""
    from service.app import create_app
    from service.settings import Settings

    with TemporaryDirectory() as directory:
        sys.stdout.write(api_page(create_app(Settings(database_url=f"sqlite:///{directory}/none.db"))))


if __name__ == "__main__":
    main()

"""What no address may say: NUL, which no text here has, and below ``/v1`` a query parameter that a route does not read.

A misspelt filter would be no filter, a misspelt dry run a run.
"""

from difflib import get_close_matches
from itertools import zip_longest
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from service.access import admit_before_body
from service.middleware import matched_route
from service.problems import MAX_ERRORS


async def no_nul(request: Request) -> None:
    """For ``dependencies=[...]`` of all routes. Raises RequestValidationError naming each parameter with a NUL.

    PostgreSQL takes none, and SQLite finds nothing by it.
    """
    admit_before_body(request)  # these dependencies run before the routers' own
    said = [("path", *each) for each in request.path_params.items()]
    said += [("query", *each) for each in request.query_params.multi_items()]
    found = [(source, name) for source, name, value in said if "\0" in f"{name}{value}"]
    if found:
        advice = "holds a NUL character (%00); leave it out"
        raise RequestValidationError([{"type": "nul", "loc": each, "msg": advice} for each in found])


async def only_known_parameters(request: Request) -> None:
    """For ``dependencies=[...]`` of routes. Raises RequestValidationError naming each parameter that is not read.

    A route that reads a model of parameters leaves that to the model.
    """
    read: list[Any] = matched_route(request.scope).dependant.query_params
    if any(
        isinstance(each.field_info.annotation, type) and issubclass(each.field_info.annotation, BaseModel)
        for each in read
    ):
        return
    known = [each.alias for each in read]
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        told = [_advice(name, known) for name in unknown[:MAX_ERRORS]]
        raise RequestValidationError(
            [
                {"type": "extra_forbidden", "loc": ("query", name), "msg": words}
                for name, words in zip_longest(unknown, told, fillvalue="")
            ]
        )


def _advice(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, 1):
        return f"no such parameter; did you mean {close[0]}?"
    return f"no such parameter; there is {', '.join(known) or 'none'}"

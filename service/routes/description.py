"""GET /openapi.json: the API's description, for whoever may use any of it."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from service.access import needs
from service.security.keys import SCOPES

router = APIRouter(include_in_schema=False, dependencies=[needs(*SCOPES)])


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """OpenAPI 3.1."""
    document: dict[str, Any] = request.app.openapi()
    return JSONResponse(document)

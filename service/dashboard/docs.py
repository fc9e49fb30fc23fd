"""/docs: the API's reference."""

from fastapi import APIRouter, Request, Response

from service.dashboard.reference import operations, schemas
from service.dashboard.rendering import render

router = APIRouter()


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API's reference."""
    document = request.app.openapi()
    return render(
        request,
        "reference.html",
        here="docs",
        version=document["info"]["version"],
        operations=operations(document),
        schemas=schemas(document),
    )
